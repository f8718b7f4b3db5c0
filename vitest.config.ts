import { configDefaults, defineConfig } from 'vitest/config';

/** Their steps enter a lab's machines from outside, which an ordinary user's namespaces let `manycast lab` alone do. */
const forRoot = 'test/lab/{registry-access,two-routers,router-restart,routed-group}.test.ts';

export default defineConfig({
  test: {
    // One file after the other: the agents of a lab keep time, and must not compete with other tests for two cores.
    fileParallelism: false,
    include: ['test/**/*.test.ts'],
    exclude: [...configDefaults.exclude, ...(process.getuid?.() === 0 ? [] : [forRoot])],
    testTimeout: 20_000,
    hookTimeout: 60_000,
  },
});
