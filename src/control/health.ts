import { defined } from '../base/assert.ts';

/** How many answers in a row change what is thought of the local server, by one check. */
export interface Tolerance {
  /** What complaints call the check. */
  readonly name: string;
  /** A check that is down is up after this many good answers in a row. */
  readonly rise: number;
  /** A check that is up is down after this many failures in a row. */
  readonly fall: number;
}

/** What one run of a check found. */
export interface CheckResult {
  /** When it ended, monotonic milliseconds. */
  readonly at: number;
  /** Index of the check. */
  readonly check: number;
  /** Null when the answer was good; otherwise one line why not. */
  readonly problem: string | null;
}

/** Whether the local server may be given a share. */
export interface HealthView {
  readonly healthy: boolean;
  /** Null while healthy; otherwise the first check that is down, and why. */
  readonly reason: string | null;
  /** Since when it is healthy or not, monotonic milliseconds. */
  readonly since: number;
}

/** The health of the local server: a state machine without sockets and clock. */
export interface Health {
  /** What has become of it; null when it is as healthy, or not, as before. */
  handle(result: CheckResult): HealthView | null;
  view(): HealthView;
}

/**
 * Healthy is a server whose checks are all up, or that nobody checks. Each check begins down: at the start of an agent the other replicas
 * serve, and a server that has not answered yet must not take a share from them. A load balancer's servers begin up (HAProxy, `rise` and
 * `fall`), because it has nobody else to send clients to; here the planner lets everybody serve when nobody is healthy.
 */
export function createHealth(tolerances: readonly Tolerance[], start: number): Health {
  const checks = tolerances.map((tolerance) => createCheck(tolerance));
  let view: HealthView = viewAt(start);

  function viewAt(since: number): HealthView {
    const down = checks.find((check) => !check.up);
    return { healthy: !down, reason: down ? `${down.name}: ${down.problem}` : null, since };
  }

  return {
    handle({ at, check, problem }: CheckResult): HealthView | null {
      defined(checks[check], 'the check of a result').take(problem);
      const { healthy, since } = view;
      view = viewAt(since);
      if (view.healthy === healthy) return null;
      view = { ...view, since: at };
      return view;
    },
    view: () => view,
  };
}

interface Check {
  readonly name: string;
  readonly up: boolean;
  /** Of the newest failure. */
  readonly problem: string;
  take(problem: string | null): void;
}

function createCheck({ name, rise, fall }: Tolerance): Check {
  let up = false;
  let last = 'no good answer yet';
  /** Answers in a row that speak against `up`. */
  let against = 0;
  return {
    name,
    get up() {
      return up;
    },
    get problem() {
      return last;
    },
    take(problem: string | null): void {
      if (problem !== null) last = problem;
      const good = problem === null;
      against = good === up ? 0 : against + 1;
      if (against < (up ? fall : rise)) return;
      up = good;
      against = 0;
    },
  };
}
