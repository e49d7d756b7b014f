/** Scripts for Slurm and manifests for Kubernetes, from the options of `choir launch`. */
import { readFile } from 'node:fs/promises'
import { isAbsolute, posix } from 'node:path'
import { type Fields, isFields } from '../../../core/config/fields.ts'
import { option, UsageError } from '../../../core/errors.ts'
import { commandLine } from '../../../core/text/shell.ts'
import { readYaml } from '../../../node/run/read-yaml.ts'
import { writeOutput } from '../../../node/system/output-file.ts'
import { checkCores, checkParallel, type Layout } from '../../../tools/launch/layout.ts'
import { CONFIG_FILE, mpiJobManifest, parseVolume } from '../../../tools/launch/mpijob.ts'
import { slurmStudy } from '../../../tools/launch/slurm-study.ts'
import { slurmTraining } from '../../../tools/launch/slurm-train.ts'
import { loadCluster } from '../../../tools/plan/inputs/load-plan.ts'
import { checkStudy } from '../../../tools/study/runs/study-folder.ts'
import type { Io } from '../io.ts'
import { expectOutputs } from '../output-files.ts'
import { readGiven } from '../read-given.ts'
import { loadSpecification, studyWords } from '../study/specification.ts'
import { freeDirectory } from '../train-job.ts'
import { findMpirun } from './find-mpirun.ts'
import type { LaunchFlags } from './flags.ts'
import { expectRanks, type LaunchedRun, loadLaunchedRun, trainArguments } from './launched-run.ts'
import { choirVariables } from './variables.ts'

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
  await writeOut(io, script, flags, 'sbatch')
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
  await writeOut(io, script, flags, 'sbatch')
}

export async function writeKubernetes(io: Io, source: string | undefined, flags: LaunchFlags): Promise<void> {
  const { image, out, program = '/usr/local/bin/choir' } = flags
  if (image === undefined) throw new UsageError('missing --image (expected an image with Node, choir, MPI and sshd)')
  if (!isAbsolute(program))
    throw new UsageError(`invalid --program: "${program}" (expected an absolute path in the image)`)
  const volumes = (flags.volume ?? []).map(parseVolume)
  const on = volumes.find(({ path }) => out?.startsWith(`${path.replace(/\/$/, '')}/`))
  if (out === undefined || !on)
    throw new UsageError(
      `${out === undefined ? 'missing --out' : `invalid --out: "${out}"`} (expected a folder on a volume, such as ` +
        '/data/runs/demo with --volume CLAIM:/data: what pods write elsewhere is lost with them)',
    )
  const run = await loadLaunchedRun(source, flags)
  if (!run.gpus && flags.gpuResource !== undefined)
    throw new UsageError(`invalid --gpu-resource: ${flags.gpuResource} (expected only with --device webgpu)`)
  if (run.gpus && flags.ranksPerNode !== undefined && flags.ranksPerNode > 1)
    throw new UsageError(
      `invalid --ranks-per-node: ${flags.ranksPerNode} (expected 1 with --device webgpu, and more --nodes: WebGPU opens ` +
        'one of several equal GPUs of a pod, so each pod has one rank and one GPU)',
    )
  const { nodes, layout } = await nodesFor(run, flags, run.gpus ? 1 : undefined)
  const config = run.file === undefined ? undefined : await readFile(run.file, 'utf8')
  const manifest = mpiJobManifest({
    name:
      flags.name ??
      run.name
        .toLowerCase()
        .replace(/[^a-z0-9]+/g, '-')
        .replace(/^[^a-z]+|(?<!-)-+$/g, ''),
    image,
    volumes,
    workers: nodes,
    // Ranks are not bound: pods on one node would be bound to the same cores. CPU limits of the pods divide the cores.
    layout: { ...layout, bound: false },
    library: flags.mpi ?? 'openmpi',
    restarts: flags.restarts ?? 0,
    program: {
      program: [program],
      directory: out,
      ...trainArguments(config === undefined ? source : CONFIG_FILE, out, layout.threads, flags),
    },
    ...(config !== undefined && { config }),
    ...(flags.namespace !== undefined && { namespace: flags.namespace }),
    ...(flags.memory !== undefined && { memory: flags.memory }),
    ...(flags.queue !== undefined && { queue: flags.queue }),
    ...(run.gpus && { gpu: flags.gpuResource ?? 'nvidia.com/gpu' }),
    ...(flags.pod !== undefined && { podFields: await podFieldsIn(flags.pod) }),
  })
  await writeOut(io, manifest, flags, 'kubectl apply -f')
}

/**
 * Number of nodes, and the ranks and threads of each node. By default, each device of `--cluster` is a rank.
 * @param mostRanks Number of ranks that a node can have at most.
 */
async function nodesFor(
  run: LaunchedRun,
  flags: LaunchFlags,
  mostRanks = Number.POSITIVE_INFINITY,
): Promise<{ nodes: number; layout: Layout }> {
  const { cores } = flags
  const cluster = flags.cluster === undefined ? undefined : await loadCluster(flags.cluster)
  const perNode = cluster && Math.min(cluster.devices, cluster.devicesPerNode, mostRanks)
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

/** The fields of a YAML or JSON file. @throws UsageError if it cannot be read or has no fields */
async function podFieldsIn(file: string): Promise<Fields> {
  const expected = 'fields of a pod, such as "nodeSelector: { pool: cpu }"'
  const fields = readYaml(await readGiven('--pod', file, expected), file)
  if (isFields(fields)) return fields
  throw new UsageError(`invalid --pod: ${JSON.stringify(file)} (expected ${expected})`)
}

async function writeOut(io: Io, text: string, { write }: LaunchFlags, submit: string): Promise<void> {
  if (write === undefined) return void io.stdout.write(text)
  await expectOutputs(['write', write, 'script'])
  await writeOutput(write, text)
  io.stderr.write(`choir: submit it with: ${submit} ${commandLine([write])}\n`)
}
