/** @slow */
import { spawnSync } from 'node:child_process'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { checkpointsOf, expectSuccess, results, trainRecords, Workspace } from './support.ts'

let workspace: Workspace
/** Run directory of one process. */
let whole: string
const config = () => workspace.config({ train: { steps: 120, checkpointEvery: 1000, evalEvery: 60 } })

beforeAll(async () => {
  workspace = new Workspace()
  whole = workspace.file('whole')
  await expectSuccess(workspace.start('train', config(), '--out', whole, '--json'))
})
afterAll(() => workspace.remove())

// The launcher handles both signals alike: it sends SIGUSR1 to mpirun.
const cases = [
  ['openmpi', 'SIGINT'],
  ['mpich', 'SIGUSR1'],
] as const

test.each(cases.filter(([mpi]) => spawnSync('sh', ['-c', `mpirun.${mpi} --version`]).status === 0))(
  'mpirun of %s: %s to launch saves the run and exits with 130, and the continued run has the bits of one process',
  async (mpi, signal) => {
    const one = ['--ranks', '1', '--threads', '1', '--mpi', mpi, '--json']
    const run = workspace.file(mpi)
    const running = workspace.start('launch', 'train', config(), ...one, '--out', run)
    await running.step(10)
    running.kill(signal)
    const { code, stderr } = await running.ended
    expect({ code, stderr }).toMatchObject({ code: 130, stderr: expect.stringContaining('choir: stopped; continue') })
    const last = trainRecords(run).at(-1)?.step as number
    expect(last).toBeLessThan(120)
    expect(checkpointsOf(run)).toEqual([`step-${String(last).padStart(8, '0')}`])
    await expectSuccess(workspace.start('launch', 'train', '--resume', run, ...one))
    expect(results(run)).toEqual(results(whole))
  },
  60_000,
)
