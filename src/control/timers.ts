/** All timing of the control plane, in milliseconds, on one screen. Safety needs each bound noted here; they scale together. */
export interface Timers {
  /** A coordinator that everybody answers sends a heartbeat this long after the last, and at once when what it says has changed; its followers answer each. */
  readonly heartbeatMs: number;
  /** It is sent again this long after the last when somebody has not answered that; and who follows nobody sends one this often. */
  readonly hurriedMs: number;
  /** A peer heard within this counts as heard. */
  readonly heardMs: number;
  /** A coordinator acts until this long after the sending of the newest heartbeat that a majority of the voters answered. */
  readonly authorityMs: number;
  /** A voter supports nobody else before its coordinator was silent this long, or before it has run this long itself. Above `authorityMs`. Its heartbeats name who was heard within this: `Succession` counts on both. */
  readonly silenceMs: number;
  /** Of several voters that may stand, each waits this much longer than the one named before it. */
  readonly standAfterMs: number;
  /** A kernel accepts until this long after the sending of the newest own heartbeat that the coordinator answered. */
  readonly leaseMs: number;
  /** A member that did not answer for this long loses its slots. Above `leaseMs` by what a kernel may take to drop everything. */
  readonly deadMs: number;
  /** A member whose kernel has not followed the ledger for this long gets no more leases, and loses its slots `deadMs` later. */
  readonly stallMs: number;
  /** A new coordinator takes no slots before it had authority this long: leases from before it may still run. Like `deadMs`. Those of the coordinator right before it sooner: `Succession`. */
  readonly takeoverMs: number;
  /** Before the very first map the coordinator waits this long for its peers, unless it hears all. */
  readonly gatherMs: number;
  /** A peer heard without a gap for this long gets a share; twice as long each time it is lost again soon, */
  readonly stableMs: number;
  /** up to this; */
  readonly stableMsMax: number;
  /** soon is within this. */
  readonly forgivenMs: number;
  /** A ledger or proposal not acknowledged is sent again after this. */
  readonly resendMs: number;
  /** A holder looks this often whether it still has flows of slots that it gave away, */
  readonly listMs: number;
  /** but not before this: a SYN-ACK may still be answered for which, with SYN cookies, nothing stands in any list. */
  readonly halfOpenMs: number;
  /** UDP flows that were to stay with a holder follow their slot when its new owner has not answered for them by then. Well below `stallMs`. */
  readonly staysMs: number;
  /** A slot is called left when the routers have not answered by then for the flows that they are to go on sending here. */
  readonly tagMs: number;
  /** A coordinator asks the host of a silent holder this often whether it is there, */
  readonly probeMs: number;
  /** and takes it for gone, with its flows, when it has not answered for this long. */
  readonly goneMs: number;
  /** A holder that has reported nothing is settled this long after its drain deadline. */
  readonly overdueMs: number;
  /** A reset that was held back leaves when nobody has said for this long that the connection is theirs; */
  readonly askMs: number;
  /** asked this often. */
  readonly askAgainMs: number;
  /** Flows are asked about together when they come within this. */
  readonly gatherFlowsMs: number;
  /** A host that nobody has made a holder of what it holds for this long, while it could be heard, ends its flows. */
  readonly claimMs: number;
  /** A change that a person asked for is given up when no coordinator has taken it up for this long; a saved policy file is not. */
  readonly proposalMs: number;
  /** An agent that leaves waits at most this long for its share to be taken over; for its flows to end, until their deadline. */
  readonly leaveMs: number;
}

export const defaultTimers: Timers = {
  heartbeatMs: 100,
  hurriedMs: 50,
  heardMs: 250,
  authorityMs: 250,
  silenceMs: 350,
  standAfterMs: 150,
  leaseMs: 500,
  deadMs: 800,
  stallMs: 1000,
  takeoverMs: 800,
  gatherMs: 1000,
  stableMs: 500,
  stableMsMax: 4000,
  forgivenMs: 30_000,
  resendMs: 80,
  listMs: 500,
  halfOpenMs: 3000,
  staysMs: 500,
  tagMs: 500,
  probeMs: 250,
  goneMs: 1500,
  overdueMs: 5000,
  askMs: 150,
  askAgainMs: 50,
  gatherFlowsMs: 10,
  claimMs: 2000,
  proposalMs: 5000,
  leaveMs: 3000,
};

/** The same table for a slower network or host: everything takes `factor` times as long. */
export function scaledTimers(factor: number): Timers {
  const scaled = Object.entries(defaultTimers).map(([name, ms]) => [name, ms * factor]);
  return Object.fromEntries(scaled) as Timers;
}
