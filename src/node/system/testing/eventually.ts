import { vi } from 'vitest'

/** Tries a check again until it passes. An event that is immediate on an idle machine may take seconds on a busy one. */
export const eventually = <T>(check: () => T | Promise<T>): Promise<T> =>
  vi.waitFor(check, { timeout: 20_000, interval: 10 })
