/** Options of `choir launch`, and the targets and activities that each of them belongs to. */

import { UsageError } from '../../../core/errors.ts'
import type { MpiLibrary } from '../../../tools/launch/mpirun.ts'
import type { JobFlags } from '../train-job.ts'

/** The program or system that starts the processes. */
export type Target = 'mpirun' | 'slurm' | 'kubernetes'
export type Activity = 'train' | 'study'

export interface LaunchFlags extends JobFlags {
  readonly ranks?: number
  readonly hosts?: string
  readonly hostfile?: string
  readonly cluster?: string
  readonly cores?: number
  readonly oversubscribe?: true
  /** False if --no-bind is given. */
  readonly bind: boolean
  readonly mpi?: MpiLibrary
  readonly restarts?: number
  readonly print?: true
  readonly json?: true
  readonly profile?: true
  readonly trace?: string
  readonly logTo?: string
  /** False if --no-sample is given. */
  readonly sample: boolean
  readonly slurm?: true
  readonly nodes?: number
  readonly ranksPerNode?: number
  readonly time?: string
  readonly partition?: string
  readonly account?: string
  readonly sbatch?: readonly string[]
  readonly launcher?: 'srun' | 'mpirun'
  readonly tasks?: number
  readonly jobs?: number
  readonly preset?: string
  readonly seeds?: number
  readonly kubernetes?: true
  readonly name?: string
  readonly image?: string
  readonly namespace?: string
  readonly volume?: readonly string[]
  readonly memory?: string
  readonly pod?: string
  readonly queue?: string
  readonly gpuResource?: string
  readonly program?: string
  readonly write?: string
}

/** Targets and activities that an option belongs to. Options that are not listed belong to all of them. */
const scope: Readonly<Partial<Record<keyof LaunchFlags, readonly string[]>>> = {
  ranks: ['mpirun train'],
  hosts: ['mpirun train'],
  hostfile: ['mpirun train'],
  oversubscribe: ['mpirun train'],
  bind: ['mpirun train'],
  sample: ['mpirun train', 'slurm train', 'kubernetes train'],
  print: ['mpirun train'],
  cluster: ['mpirun train', 'slurm train', 'kubernetes train'],
  cores: ['mpirun train', 'slurm train', 'kubernetes train'],
  mpi: ['mpirun train', 'slurm train', 'kubernetes train'],
  resume: ['mpirun train', 'slurm train'],
  from: ['mpirun train', 'slurm train'],
  fork: ['mpirun train', 'slurm train'],
  checkpoint: ['mpirun train', 'slurm train'],
  freeze: ['mpirun train', 'slurm train', 'kubernetes train'],
  json: ['mpirun train', 'slurm train', 'kubernetes train'],
  profile: ['mpirun train', 'slurm train', 'kubernetes train'],
  trace: ['mpirun train', 'slurm train', 'kubernetes train'],
  logTo: ['mpirun train', 'slurm train', 'kubernetes train'],
  nodes: ['slurm train', 'kubernetes train'],
  ranksPerNode: ['slurm train', 'kubernetes train'],
  time: ['slurm train', 'slurm study'],
  partition: ['slurm train', 'slurm study'],
  account: ['slurm train', 'slurm study'],
  sbatch: ['slurm train', 'slurm study'],
  launcher: ['slurm train'],
  tasks: ['slurm study'],
  jobs: ['slurm study'],
  preset: ['slurm study'],
  data: ['mpirun train', 'slurm train', 'kubernetes train', 'slurm study'],
  steps: ['mpirun train', 'slurm train', 'kubernetes train'],
  seeds: ['slurm study'],
  name: ['slurm train', 'slurm study', 'kubernetes train'],
  image: ['kubernetes train'],
  namespace: ['kubernetes train'],
  volume: ['kubernetes train'],
  memory: ['kubernetes train'],
  pod: ['kubernetes train'],
  queue: ['kubernetes train'],
  gpuResource: ['kubernetes train'],
  program: ['kubernetes train'],
  write: ['slurm train', 'slurm study', 'kubernetes train'],
}

/** @throws UsageError if two targets are given, or an option that does nothing for the target */
export function targetOf(activity: Activity, flags: LaunchFlags): Target {
  if (flags.slurm && flags.kubernetes)
    throw new UsageError('invalid --kubernetes: not with --slurm (expected one of them)')
  const target = flags.slurm ? 'slurm' : flags.kubernetes ? 'kubernetes' : 'mpirun'
  if (activity === 'study' && target !== 'slurm')
    throw new UsageError(
      'invalid command: "study" (expected with --slurm, as an array of jobs; on one machine: choir study --jobs N)',
    )
  const isNegative = (key: string) => key === 'bind' || key === 'sample'
  for (const [key, places] of Object.entries(scope)) {
    const value = flags[key as keyof LaunchFlags]
    const given = isNegative(key) ? value === false : value !== undefined
    if (!given || places.includes(`${target} ${activity}`)) continue
    const option = `--${isNegative(key) ? 'no-' : ''}${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`
    const others = places.map(described).join(', ')
    throw new UsageError(`invalid ${option}: not with ${described(`${target} ${activity}`)} (expected with ${others})`)
  }
  return target
}

function described(place: string): string {
  const [target, activity] = place.split(' ')
  return target === 'mpirun' ? `launch ${activity}` : `launch --${target} ${activity}`
}
