import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    // One file after the other: the agents of a lab keep time, and must not compete with other tests for two cores.
    fileParallelism: false,
    include: ['test/**/*.test.ts'],
    testTimeout: 20_000,
    hookTimeout: 60_000,
  },
});
