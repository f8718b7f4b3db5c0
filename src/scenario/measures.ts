/** Every measure that a run takes, by name, with what it says. */
export const measureMeanings = {
  'requests.total': 'HTTP requests made',
  'requests.failed': 'requests without a good answer, those of a host that was cut off or killed apart',
  'requests.cut':
    'requests lost with a host that was cut off or killed: to its slots, before others had taken them over',
  'requests.retried': 'requests asked once more because their connection was reset before an answer (RFC 9110, 9.2.2)',
  'answers.wrongReplica':
    'connections answered by a replica that did not own the slot of the client when its SYN was sent',
  'answers.byTwo': 'overlap: connections answered by two replicas',
  'resets.sent': 'segments with RST that replicas sent to clients',
  'connections.total': 'long-lived connections asked for',
  'connections.moved':
    'times that another replica went on with a connection of `tcp-echo`, and knew what had been said on it',
  'connections.reset': 'times that a long-lived connection was reset',
  'connections.reconnected': 'times that one was opened again after that, and answered',
  'connections.cut': 'times that one was lost with a host that was cut off or killed',
  'connections.broken': 'times that one got a wrong answer, stalled or ended without a reset, or never came back',
  'move.slots': 'slots that saved policies, moves by hand and drains moved',
  'move.durationMs':
    'from saving a policy, or asking for a move or a drain, to the last kernel programmed before the next step; the longest, when there are several',
  'failover.gapMs':
    'from the cut or the death of a host to the first answer by another replica; the longest of all clients of that replica',
  'served.gapMs':
    'time to served: longest time without a fresh connection opened, after the first step that did something; the worst of all client addresses',
  'served.refused': 'fresh connections asked for that were not opened in time',
  'ping.gapMs': 'longest pause of a connection that is never silent, after the first step that did something',
  'ping.lost': 'times that one was lost',
  'stall.p50Ms':
    'longest time that an open session waited for an answer or for bytes and got nothing, after the first step that did something: the median of all sessions of `tcp-echo` and `stream`, but those that `connections.cut` counts',
  'stall.p99Ms': 'the same, of the worst in a hundred',
  'stall.maxMs': 'the same, of the worst of all',
  'bytes.checked': 'bytes of streams that arrived and were looked at, both ways',
  'bytes.wrong': 'bytes of streams that were lost, doubled or changed',
  'datagrams.sent': 'datagrams sent',
  'datagrams.lost': 'datagrams without an answer in time',
  'datagrams.wrong': 'answers to nothing that was asked, and second answers',
  'datagrams.moved': 'times that another replica answered a flow than the one before',
  'datagrams.forgotten':
    'times that a flow was answered by who knew nothing of what it had said before; of `group` delivery',
  'datagrams.begun': 'flows that were answered',
  'datagrams.astray': 'of those, flows that began at a replica that did not own the slot of the client then',
  'commands.run': 'commands that have ended',
  'commands.failed': 'commands that ended with another exit code than 0, or not in time',
  'commands.exitCode': 'the highest exit code of a command',
  'commands.moves': 'how often the slot of its client changed its owner while a command ran, the least of all commands',
  'slots.unsettled':
    'slots that were on their way, that had connections at others than their owner, or that were nobody’s, when the timeline ended',
  'joins.refused': 'joins that routers heard and that did not count, whatever the reason; of all routers together',
  'joins.refused.malformed': 'of those, damaged ones, or none that a router knows',
  'joins.refused.unsigned': 'without a signature',
  'joins.refused.duplicate': 'heard already: copies',
  'joins.refused.not-timely': 'signed too long ago, or in the future',
  'joins.refused.wrong-link': 'for an address that is not their sender’s, or not of the link they came on',
  'joins.refused.no-key': 'to a group whose authority is not known',
  'joins.refused.rate-limit': 'more than are checked in a second',
  'joins.refused.certificate':
    'with a certificate of another authority or cluster, one that is not in force, or one that is revoked',
  'joins.refused.signature': 'changed, or signed by another key than that of their certificate',
  'joins.refused.stale-epoch': 'older than one of the same member that counts',
  'joins.ofImpostors': 'joins that impostors sent',
  'routers.slotsTaken':
    'slots that a router sent to somebody else after the joins of an impostor were judged than before; of all such steps together',
  'routers.slotsAstray':
    'slots that a router sent to another replica than the agents said when the timeline ended; of all routers together',
  'routers.tagsMost':
    'the most connections at one time that a router sent to another replica than the owner of their slot (handoff `tag`)',
  'routers.tagsLeft': 'those that it still did when the timeline ended',
  'capture.drops': 'frames that the capture at the switch missed',
} as const;

export type MeasureName = keyof typeof measureMeanings;
export type Measures = Readonly<Record<MeasureName, number>>;

export const measureNames = Object.keys(measureMeanings) as [MeasureName, ...MeasureName[]];
