import type { PluginCheck } from '../check.ts'

/** The checks that failed, with what they found, a line each. */
export const failures = ({ checks }: Pick<PluginCheck, 'checks'>): string =>
  checks
    .filter(({ passed }) => !passed)
    .map(({ name, found }) => `${name}: ${found}`)
    .join('\n')
