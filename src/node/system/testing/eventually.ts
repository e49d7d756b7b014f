import { vi } from 'vitest'

/** Tries a check again until it passes. What comes at once on a quiet machine may take seconds on a busy one. */
export const eventually = <T>(check: () => T | Promise<T>): Promise<T> =>
  vi.waitFor(check, { timeout: 20_000, interval: 10 })
