/** Tests with environments as launchers set them: Open MPI 5.0.7, Hydra 4.2.1, and Slurm as in its manual. */
import { describe, expect, test } from 'vitest'
import { UsageError } from '../../../core/errors.ts'
import { worldOf } from './world.ts'

const openMpi = {
  OMPI_COMM_WORLD_SIZE: '4',
  OMPI_COMM_WORLD_RANK: '2',
  OMPI_COMM_WORLD_LOCAL_RANK: '0',
  OMPI_COMM_WORLD_LOCAL_SIZE: '2',
  PMIX_RANK: '2',
}
const hydra = { PMI_SIZE: '3', PMI_RANK: '1', MPI_LOCALRANKID: '1', MPI_LOCALNRANKS: '3' }
const slurm = {
  SLURM_STEP_ID: '0',
  SLURM_STEP_NUM_TASKS: '7',
  SLURM_NTASKS: '9',
  SLURM_PROCID: '6',
  SLURM_LOCALID: '0',
  SLURM_NODEID: '3',
  SLURM_STEP_TASKS_PER_NODE: '2(x3),1',
}

describe('a world is read from the variables of', () => {
  test('Open MPI', () => {
    expect(worldOf(openMpi)).toEqual({ launcher: 'Open MPI', rank: 2, size: 4, localRank: 0, localSize: 2 })
  })
  test('MPICH', () => {
    expect(worldOf(hydra)).toEqual({ launcher: 'MPICH', rank: 1, size: 3, localRank: 1, localSize: 3 })
  })
  test('Slurm, whose step may be smaller than its job', () => {
    expect(worldOf(slurm)).toEqual({ launcher: 'Slurm', rank: 6, size: 7, localRank: 0, localSize: 1 })
    const second = { ...slurm, SLURM_PROCID: '3', SLURM_NODEID: '1', SLURM_LOCALID: '1' }
    expect(worldOf(second)).toEqual({ launcher: 'Slurm', rank: 3, size: 7, localRank: 1, localSize: 2 })
  })
  test('Slurm with PMI-2, which sets two variables of Hydra', () => {
    expect(worldOf({ ...slurm, PMI_SIZE: '7', PMI_RANK: '6' })).toMatchObject({ launcher: 'Slurm', rank: 6 })
  })
  test('PMI without local ranks', () => {
    const world = { launcher: 'MPICH', rank: 1, size: 2, localRank: 0, localSize: 1 }
    expect(worldOf({ PMI_SIZE: '2', PMI_RANK: '1' })).toEqual(world)
  })
  test('mpirun within a Slurm job, whose variables describe the helpers of mpirun', () => {
    const helper = { ...slurm, SLURM_STEP_NUM_TASKS: '2', SLURM_PROCID: '1' }
    expect(worldOf({ ...helper, ...openMpi })).toMatchObject({ launcher: 'Open MPI', rank: 2, size: 4 })
    expect(worldOf({ ...helper, ...hydra })).toMatchObject({ launcher: 'MPICH', rank: 1, size: 3 })
  })
})

describe('there is no world', () => {
  test('without a launcher', () => {
    expect(worldOf({})).toBeNull()
    expect(worldOf({ PATH: '/bin', PMI_FD: '7' })).toBeNull()
  })
  test('in a world of one', () => {
    expect(worldOf({ ...openMpi, OMPI_COMM_WORLD_SIZE: '1', OMPI_COMM_WORLD_RANK: '0' })).toBeNull()
    expect(worldOf({ ...hydra, PMI_SIZE: '1', PMI_RANK: '0' })).toBeNull()
    expect(worldOf({ ...slurm, SLURM_STEP_NUM_TASKS: '1' })).toBeNull()
  })
  test('in a batch script of Slurm, which no srun started', () => {
    expect(worldOf({ SLURM_NTASKS: '4', SLURM_PROCID: '0', SLURM_JOB_ID: '17' })).toBeNull()
  })
})

test.each([
  [{ ...openMpi, OMPI_COMM_WORLD_RANK: '4' }, 'invalid OMPI_COMM_WORLD_RANK: 4 (expected an integer from 0 to 3'],
  [{ ...openMpi, OMPI_COMM_WORLD_RANK: undefined }, 'OMPI_COMM_WORLD_RANK is not set'],
  [{ ...openMpi, OMPI_COMM_WORLD_SIZE: '0' }, 'invalid OMPI_COMM_WORLD_SIZE: 0 (expected an integer of at least 1'],
  [{ ...openMpi, OMPI_COMM_WORLD_LOCAL_RANK: '-1' }, 'invalid OMPI_COMM_WORLD_LOCAL_RANK: -1'],
  [{ ...openMpi, OMPI_COMM_WORLD_LOCAL_SIZE: '5' }, 'invalid OMPI_COMM_WORLD_LOCAL_SIZE: 5'],
  [{ ...hydra, PMI_RANK: '1e0' }, 'invalid PMI_RANK: 1e0'],
  [{ ...hydra, PMI_SIZE: '' }, 'invalid PMI_SIZE: '],
  [{ ...slurm, SLURM_PROCID: 'x' }, 'invalid SLURM_PROCID: x'],
  [{ ...slurm, SLURM_STEP_TASKS_PER_NODE: '2x3' }, 'invalid SLURM_STEP_TASKS_PER_NODE: 2x3'],
  [{ ...slurm, SLURM_NODEID: '4' }, 'invalid SLURM_NODEID: 4'],
])('a contradiction is refused with the name and the value %#', (env, message) => {
  expect(() => worldOf(env)).toThrow(UsageError)
  expect(() => worldOf(env)).toThrow(message)
})
