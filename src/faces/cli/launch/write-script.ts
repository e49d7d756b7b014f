/** Batch scripts for Slurm, from the options of `choir launch`. */
import { posix } from 'node:path'
import { option, UsageError } from '../../../core/errors.ts'
import { commandLine } from '../../../core/text/shell.ts'
import { writeOutput } from '../../../node/system/output-file.ts'
import { checkCores, checkParallel, type Layout } from '../../../tools/launch/layout.ts'
import { slurmStudy } from '../../../tools/launch/slurm-study.ts'
import { slurmTraining } from '../../../tools/launch/slurm-train.ts'
import { loadCluster } from '../../../tools/plan/inputs/load-plan.ts'
import { checkStudy } from '../../../tools/study/runs/study-folder.ts'
import type { Io } from '../io.ts'
import { expectOutputs } from '../output-files.ts'
import { choirVariables } from '../ranks.ts'
import { loadSpecification, studyWords } from '../study/specification.ts'
import { freeDirectory } from '../train-job.ts'
import { findMpirun } from './find-mpirun.ts'
import type { LaunchFlags } from './flags.ts'
import { expectRanks, type LaunchedRun, loadLaunchedRun, trainArguments } from './launched-run.ts'

export async function writeSlurmTraining(io: Io, source: string | undefined, flags: LaunchFlags): Promise<void> {
  const run = await loadLaunchedRun(source, flags)
  const { nodes, layout } = await nodesFor(run, flags)
  const directory = flags.resume ?? flags.out ?? freeDirectory(run.name)
  const script = slurmTraining({
    ...placeOf(flags),
    name: flags.name ?? run.name,
    folder: io.folder,
    nodes,
    layout,
    library: await libraryFor(io, flags),
    launcher: flags.launcher ?? 'srun',
    restarts: flags.restarts ?? 0,
    gpus: run.gpus,
    variables: choirVariables(io.env),
    program: { program: io.program, directory, ...trainArguments(source, directory, layout.threads, flags) },
  })
  await writeOut(io, script, flags)
}

export async function writeSlurmStudy(io: Io, source: string | undefined, flags: LaunchFlags): Promise<void> {
  const { out, tasks } = flags
  if (source === undefined) throw new UsageError("missing argument 'config' (a built-in study, or a YAML file)")
  if (out === undefined) throw new UsageError('missing --out (expected the folder for results that all tasks share)')
  if (tasks === undefined) throw new UsageError('missing --tasks (expected the number of jobs that share the runs)')
  const specification = await loadSpecification(source, flags)
  await checkStudy(specification, out)
  const study = [...studyWords(source, flags), '--out', out]
  const script = slurmStudy({
    ...placeOf(flags),
    name: flags.name ?? posix.basename(source).replace(/\.\w+$/, ''),
    folder: io.folder,
    tasks,
    jobs: flags.jobs ?? 1,
    threads: flags.threads ?? 1,
    program: io.program,
    study,
    gpus: specification.set['runtime.device'] === 'webgpu',
    restarts: flags.restarts ?? 0,
  })
  await writeOut(io, script, flags)
}

/** Number of nodes, and the ranks and threads of each node. By default, each device of `--cluster` is a rank. */
async function nodesFor(run: LaunchedRun, flags: LaunchFlags): Promise<{ nodes: number; layout: Layout }> {
  const { cores } = flags
  const cluster = flags.cluster === undefined ? undefined : await loadCluster(flags.cluster)
  const perNode = cluster && Math.min(cluster.devices, cluster.devicesPerNode)
  const nodes = flags.nodes ?? (cluster && perNode ? Math.ceil(cluster.devices / perNode) : 1)
  const ranksPerHost = flags.ranksPerNode ?? perNode
  if (ranksPerHost === undefined)
    throw new UsageError('missing --ranks-per-node (expected the number of processes on a node, or --cluster)')
  const ranks = nodes * ranksPerHost
  checkParallel(ranks, option(flags.ranksPerNode === undefined ? 'nodes' : 'ranksPerNode'), run.parallel)
  expectRanks(run, ranks, flags)
  const threads = flags.threads ?? run.threads ?? (cores && Math.floor(cores / ranksPerHost))
  if (threads === undefined)
    throw new UsageError(
      'missing --threads (expected the threads of a rank, or --cores for the physical cores of a node)',
    )
  if (cores !== undefined) checkCores(ranksPerHost, Math.max(threads, 1), cores)
  return { nodes, layout: { hosts: null, ranks, ranksPerHost, threads, bound: true, oversubscribe: false } }
}

const libraryFor = async (io: Io, { mpi }: LaunchFlags) =>
  mpi ?? (await findMpirun(io, undefined))?.library ?? 'openmpi'

const placeOf = ({ time, partition, account, sbatch }: LaunchFlags) => ({
  ...(time !== undefined && { time }),
  ...(partition !== undefined && { partition }),
  ...(account !== undefined && { account }),
  ...(sbatch !== undefined && { sbatch }),
})

async function writeOut(io: Io, text: string, { write }: LaunchFlags): Promise<void> {
  if (write === undefined) return void io.stdout.write(text)
  await expectOutputs(['write', write, 'script'])
  await writeOutput(write, text)
  io.stderr.write(`choir: submit it with: sbatch ${commandLine([write])}\n`)
}
