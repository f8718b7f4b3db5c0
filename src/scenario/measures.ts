/** Every measure that a run takes, by name, with what it says. */
export const measureMeanings = {
  'requests.total': 'HTTP requests made',
  'requests.failed': 'requests without a good answer, those of a replica that was cut off apart',
  'requests.cut': 'requests lost with a replica that was cut off: to its slots, before others had taken them over',
  'requests.retried': 'requests asked once more because their connection was reset before an answer (RFC 9110, 9.2.2)',
  'answers.wrongReplica':
    'connections answered by a replica that did not own the slot of the client when its SYN was sent',
  'answers.byTwo': 'connections answered by two replicas',
  'connections.total': 'long-lived connections asked for',
  'connections.reset': 'times that a long-lived connection was reset',
  'connections.reconnected': 'times that one was opened again after that, and answered',
  'connections.cut': 'times that one was lost with a replica that was cut off',
  'connections.broken': 'times that one got a wrong answer, stalled or ended without a reset, or never came back',
  'move.slots': 'slots that saved policies moved',
  'move.durationMs': 'from saving a policy to the last kernel programmed; the longest, when there are several',
  'failover.gapMs': 'from a cut to the first answer by another replica; the longest of all clients of the cut replica',
  'capture.drops': 'frames that the capture at the switch missed',
} as const;

export type MeasureName = keyof typeof measureMeanings;
export type Measures = Readonly<Record<MeasureName, number>>;

export const measureNames = Object.keys(measureMeanings) as [MeasureName, ...MeasureName[]];
