/**
 * Whatever happens to a run directory, the run is refused with a message that helps, or continues with the bits of the
 * unchanged run; and nothing is lost, in it or outside of it.
 * Here files and folders are replaced by something else; damaged-run.test.ts damages their contents.
 *
 * @slow
 */
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { fuzzTimeout } from '../support/soak.ts'
import { faultsOf, files, free, paths, prepareRuns, removeRuns } from './resumed-run.ts'
import { copies, hardLink, replacements } from './run-changes.ts'

// Each training measures the speed of the machine at its start and end, which would take most of the time here.
vi.mock('../../src/train/measure/peak.ts', () => ({ measurePeakFlops: async () => 1e12 }))

beforeAll(prepareRuns, fuzzTimeout)
afterAll(removeRuns)

test.each(Object.entries({ ...replacements, ...copies }))(
  'a run keeps its promises with files and folders replaced by %s',
  async (_, change) => {
    expect(await faultsOf([...files(), ...paths(true).map((path) => [path])], change)).toEqual({})
  },
  fuzzTimeout,
)

test.each(Object.entries(replacements))(
  'a run keeps its promises with %s where it has no file',
  async (_, change) => expect(await faultsOf(free, change)).toEqual({}),
  fuzzTimeout,
)

test(
  'a run keeps its promises with a file that has another name outside',
  async () => expect(await faultsOf([...files(), ...free], hardLink)).toEqual({}),
  fuzzTimeout,
)
