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

// The speed of the machine is measured at the start and end of each training, and takes most of the time of these.
vi.mock('../../src/train/measure/peak.ts', () => ({ measurePeakFlops: async () => 1e12 }))

beforeAll(prepareRuns, fuzzTimeout)
afterAll(removeRuns)

test.each(Object.entries({ ...replacements, ...copies }))(
  'files and folders of a run replaced by %s',
  async (_, change) => {
    expect(await faultsOf([...files(), ...paths(true).map((path) => [path])], change)).toEqual({})
  },
  fuzzTimeout,
)

test.each(Object.entries(replacements))(
  '%s where a run has nothing',
  async (_, change) => expect(await faultsOf(free, change)).toEqual({}),
  fuzzTimeout,
)

test(
  'a file that has another name outside',
  async () => expect(await faultsOf([...files(), ...free], hardLink)).toEqual({}),
  fuzzTimeout,
)
