import { spawnSync } from 'node:child_process'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { checkpointsOf, expectSuccess, results, trainRecords, Workspace } from './support.ts'

let workspace: Workspace
beforeAll(() => {
  workspace = new Workspace()
})
afterAll(() => workspace.remove())

const config = () => workspace.config({ train: { steps: 120, checkpointEvery: 1000, evalEvery: 60 } })

test.each(['openmpi', 'mpich'].filter((mpi) => spawnSync('sh', ['-c', `mpirun.${mpi} --version`]).status === 0))(
  'mpirun of %s: a signal to launch saves the run, exit 130, and the continued run is bitwise that of one process',
  async (mpi) => {
    const whole = workspace.file(`whole-${mpi}`)
    const one = ['--ranks', '1', '--threads', '1', '--mpi', mpi, '--json']
    for (const signal of ['SIGINT', 'SIGUSR1'] as const) {
      const run = workspace.file(`${mpi}-${signal}`)
      const running = workspace.start('launch', 'train', config(), ...one, '--out', run)
      await running.step(10)
      running.kill(signal)
      const { code, stderr } = await running.ended
      expect({ code, stderr }).toMatchObject({ code: 130, stderr: expect.stringContaining('choir: stopped; continue') })
      const last = trainRecords(run).at(-1)?.step as number
      expect(last).toBeLessThan(120)
      expect(checkpointsOf(run)).toEqual([`step-${String(last).padStart(8, '0')}`])
    }
    const run = workspace.file(`${mpi}-SIGINT`)
    await expectSuccess(workspace.start('launch', 'train', '--resume', run, ...one))
    await expectSuccess(workspace.start('train', config(), '--out', whole, '--json'))
    expect(results(run)).toEqual(results(whole))
  },
  60_000,
)
