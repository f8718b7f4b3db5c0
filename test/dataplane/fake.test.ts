import { createFakeDataPlane } from '../../src/dataplane/fake.ts';
import { describeDataPlane } from '../contract/data-plane-contract.ts';

const fake = createFakeDataPlane(() => performance.now());

describeDataPlane('fake', () => ({
  ...fake,
  arm: async (mark, leaseMs) => fake.arm(mark, leaseMs),
  grant: async (mark) => fake.grant(mark),
  judge: async (packet) => fake.judge(packet),
}));
