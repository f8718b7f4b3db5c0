import { createFakeDataPlane } from '../../src/dataplane/fake.ts';
import { describeCopies } from '../contract/copies-contract.ts';
import { describeDataPlane, type JudgedDataPlane } from '../contract/data-plane-contract.ts';
import { describeDiversions } from '../contract/diversions-contract.ts';
import { describeStaying } from '../contract/staying-contract.ts';

const fake = createFakeDataPlane(() => performance.now());
const judged: JudgedDataPlane = {
  ...fake,
  apply: async (table) => void (await fake.apply(table)),
  arm: async (fence, mark, ms) => fake.arm(fence, mark, ms),
  grant: async (fence, mark) => fake.grant(fence, mark),
  judgeReset: async (client) => fake.judgeReset(client),
  judgeResets: async (client, count) => Array.from({ length: count }, () => fake.judgeReset(client)),
  letsGo: async (client) => fake.letsGo(client),
  judge: async (packet) => fake.judge(packet),
  copiesOf: async (packet) => fake.copiesOf(packet),
};

describeDataPlane('fake', () => judged);
describeDataPlane('fake', () => judged, 'router');
describeCopies('fake', () => judged);
describeDiversions('fake', () => judged);
describeStaying('fake', () => judged);
