/** Options of `choir launch`, and the targets and activities that each of them belongs to. */

import { UsageError } from '../../../core/errors.ts'
import type { MpiLibrary } from '../../../tools/launch/mpirun.ts'
import type { JobFlags } from '../train-job.ts'

/** The program or system that starts the processes. */
export type Target = 'mpirun' | 'slurm'
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
  readonly name?: string
  readonly write?: string
}

/** Targets and activities that an option belongs to. Options that are not listed belong to all of them. */
const scope: Readonly<Partial<Record<keyof LaunchFlags, readonly string[]>>> = {
  ranks: ['mpirun train'],
  hosts: ['mpirun train'],
  hostfile: ['mpirun train'],
  oversubscribe: ['mpirun train'],
  bind: ['mpirun train'],
  sample: ['mpirun train', 'slurm train'],
  print: ['mpirun train'],
  cluster: ['mpirun train', 'slurm train'],
  cores: ['mpirun train', 'slurm train'],
  mpi: ['mpirun train', 'slurm train'],
  resume: ['mpirun train', 'slurm train'],
  from: ['mpirun train', 'slurm train'],
  fork: ['mpirun train', 'slurm train'],
  checkpoint: ['mpirun train', 'slurm train'],
  freeze: ['mpirun train', 'slurm train'],
  json: ['mpirun train', 'slurm train'],
  profile: ['mpirun train', 'slurm train'],
  trace: ['mpirun train', 'slurm train'],
  logTo: ['mpirun train', 'slurm train'],
  nodes: ['slurm train'],
  ranksPerNode: ['slurm train'],
  time: ['slurm train', 'slurm study'],
  partition: ['slurm train', 'slurm study'],
  account: ['slurm train', 'slurm study'],
  sbatch: ['slurm train', 'slurm study'],
  launcher: ['slurm train'],
  tasks: ['slurm study'],
  jobs: ['slurm study'],
  preset: ['slurm study'],
  data: ['mpirun train', 'slurm train', 'slurm study'],
  steps: ['mpirun train', 'slurm train'],
  seeds: ['slurm study'],
  name: ['slurm train', 'slurm study'],
  write: ['slurm train', 'slurm study'],
}

/** @throws UsageError if an option is given that does nothing for the target */
export function targetOf(activity: Activity, flags: LaunchFlags): Target {
  const target = flags.slurm ? 'slurm' : 'mpirun'
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
