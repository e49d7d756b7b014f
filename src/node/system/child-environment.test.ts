import { expect, test } from 'vitest'
import { childEnvironment } from './child-environment.ts'

test('a child inherits all variables except the variables of a launcher', () => {
  const own = { PATH: '/bin', CHOIR_MPI: 'libmpi.so', MPIEXEC: 'mpirun', SLURMY: '1', PMIX: '1', HOME: '/root' }
  const launchers = {
    OMPI_COMM_WORLD_RANK: '1',
    OMPI_MCA_btl: 'self',
    PMIX_RANK: '1',
    PRTE_MCA_x: '',
    PMI_RANK: '1',
    PMI_FD: '7',
    PMI2_SIZE: '2',
    HYDI_CONTROL_FD: '4',
    MPI_LOCALRANKID: '0',
    SLURM_PROCID: '1',
    SLURMD_NODENAME: 'a',
  }
  expect(childEnvironment({ ...own, ...launchers })).toEqual(own)
})
