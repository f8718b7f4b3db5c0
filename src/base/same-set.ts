export function sameSet<Member>(a: ReadonlySet<Member>, b: ReadonlySet<Member>): boolean {
  return a.size === b.size && [...a].every((each) => b.has(each));
}
