import { configDefaults, defineConfig } from 'vitest/config';

/** What is decided without a kernel, a clock or a user. */
const pure =
  'test/{base,wire,space,policy,identity,router,registry,control,handoff,sim,contract,scenario,tidy,docs}/**/*.test.ts';

/** Their steps enter a lab's machines from outside, which an ordinary user's namespaces let `manycast lab` alone do. */
const forRoot = 'test/lab/{registry-access,two-routers,router-restart,routed-group}.test.ts';

export default defineConfig({
  test: {
    testTimeout: 20_000,
    hookTimeout: 60_000,
    projects: [
      {
        extends: true,
        test: { name: 'pure', include: [pure], maxWorkers: '100%', sequence: { groupOrder: 0 } },
      },
      {
        extends: true,
        test: {
          name: 'machine',
          include: ['test/**/*.test.ts'],
          exclude: [...configDefaults.exclude, pure, ...(process.getuid?.() === 0 ? [] : [forRoot])],
          // One file after the other, and none beside the pure ones: the agents of a lab keep time, and must not compete with other tests for two cores.
          fileParallelism: false,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
