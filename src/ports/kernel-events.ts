/** A process of this host as the kernel names it: the id of its thread outside all containers, and its thread's name. */
export interface OtherProcess {
  readonly processId: number;
  readonly processName: string;
}

/**
 * Told when the kernel's tables, addresses and routes change. A call says only that something is to be inspected: many changes make one, and no call
 * comes sooner than a pause after the last of its kind; but every change is followed by one. What a callback throws ends it, as a failure.
 */
export interface KernelEventHandlers {
  /** Another process has changed the nftables rule set; null when there were too many changes to tell whose. */
  onRuleset(by: OtherProcess | null): void;
  /** An IPv4 address or a link came, went or changed, by whomever. */
  onAddresses(): void;
  /** A route or a rule of IPv4 came, went or changed, by whomever. Where this is not given, the kernel does not queue them. */
  onRoutes?(): void;
  /** Nothing more will be told. */
  onFailure(error: unknown): void;
}

export interface KernelEvents {
  close(): Promise<void>;
}
