import { createFakeDataPlane } from '../../src/dataplane/fake.ts';
import { describeDataPlane } from '../contract/data-plane-contract.ts';

const fake = createFakeDataPlane();

describeDataPlane('fake', () => ({ ...fake, judge: async (packet) => fake.judge(packet) }));
