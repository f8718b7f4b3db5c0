const user = { name: 'manycast', id: 1000 } as const;

/**
 * The command (for `sh -c`) that runs another as an ordinary user, `manycast`, with MANYCAST_DIRECTORY for a home. Needs no privilege but that of building labs: it is a user of
 * a namespace below the lab's. Names and shells come from files that only it and what it starts see in the place of those in /etc (`ip netns exec` gives each command mounts of its own);
 * what PostgreSQL keeps in System V memory ends with it.
 */
export function asOrdinaryUser(command: string): string {
  const { name, id } = user;
  return `cd "$MANYCAST_DIRECTORY" && HOME=$PWD && export HOME &&
printf '%s\\n' root:x:0:0::/root:/bin/sh "${name}:x:${id}:${id}::$HOME:/bin/sh" > passwd && printf '%s\\n' root:x:0: ${name}:x:${id}: > group &&
mount --bind passwd /etc/passwd && mount --bind group /etc/group &&
exec unshare --user --ipc --map-user=${id} --map-group=${id} sh -c ${quoted(command)}`;
}

/** As one word of a shell. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
