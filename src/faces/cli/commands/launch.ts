/** `choir launch`: starts a training on several processes or machines, or writes the script that does. */

import { type Command, Option } from 'commander'
import { UsageError } from '../../../core/errors.ts'
import { plural } from '../../../core/text/numbers.ts'
import { commandLine } from '../../../core/text/shell.ts'
import { physicalCores } from '../../../engine/native/cores.ts'
import { type Host, parseHostfile, parseHosts } from '../../../tools/launch/hosts.ts'
import { groupsSpanHosts, placeRanks } from '../../../tools/launch/layout.ts'
import { mpiLibraries } from '../../../tools/launch/mpirun.ts'
import type { Cluster } from '../../../tools/plan/inputs/cluster.ts'
import { loadCluster } from '../../../tools/plan/inputs/load-plan.ts'
import type { Io } from '../io.ts'
import { findMpirun, missingMpirun } from '../launch/find-mpirun.ts'
import { type Activity, type LaunchFlags, targetOf } from '../launch/flags.ts'
import { expectRanks, loadLaunchedRun, trainArguments } from '../launch/launched-run.ts'
import { type MpiJobSettings, mpiCommandLine, runMpiJob } from '../launch/run-job.ts'
import { logToOption } from '../log-to/sinks.ts'
import {
  checkpointOption,
  dataOption,
  deviceOption,
  forkOption,
  freezeOption,
  fromOption,
  jsonOption,
  listOption,
  mathOption,
  numberOption,
  ranges,
  resumeOption,
  setOption,
} from '../options.ts'
import { choirVariables } from '../ranks.ts'
import { readGiven } from '../read-given.ts'
import { freeDirectory } from '../train-job.ts'

export function addLaunch(program: Command, io: Io): void {
  const { positiveInteger, count } = ranges
  program
    .command('launch')
    .summary('start a training on several processes or machines')
    .description(
      'Starts a training on several processes (ranks), with mpirun on this and other machines, or writes a batch script ' +
        'for Slurm. Ranks, slots, threads and cores agree, or the launch is refused.',
    )
    .argument('<command>', 'train, or with --slurm also study')
    .argument('[config]', 'a preset, or a YAML or JSON file; for a study its name or file')
    .optionsGroup('Processes:')
    .addOption(numberOption('--ranks <n>', 'processes in all (default: one per slot of the hosts)', ranges.processes))
    .option('--hosts <list>', 'machines and their slots (a slot is room for one rank), such as a:4,b:4')
    .option('--hostfile <file>', 'the same as a file, for Open MPI or MPICH')
    .option('--cluster <name>', 'a cluster as in choir plan; each of its devices is a rank')
    .addOption(numberOption('--threads <n>', 'threads of a rank (default: cores / ranks of a host)', ranges.threads))
    .addOption(
      numberOption('--cores <n>', 'physical cores of a host (default: those of this machine)', ranges.processes),
    )
    .option('--oversubscribe', 'allow more ranks than slots and more threads than cores')
    .option('--no-bind', 'do not bind ranks to cores, if other programs run on the hosts')
    .addOption(new Option('--mpi <library>', 'MPI library (default: that of mpirun)').choices([...mpiLibraries]))
    .addOption(numberOption('--restarts <n>', 'times that a failed training is continued (default: 0)', count))
    .option('--print', 'print the mpirun command and run nothing')
    .optionsGroup('Training:')
    .addOption(dataOption('that of the configuration'))
    .addOption(setOption())
    .option('--out <dir>', 'run directory to create (default: runs/NAME); of a study: folder for results')
    .addOption(resumeOption())
    .addOption(fromOption())
    .addOption(forkOption())
    .addOption(checkpointOption('with --resume (not for Slurm), --from or --fork, the checkpoint of this step'))
    .addOption(freezeOption())
    .addOption(numberOption('--steps <n>', 'steps to train (train.steps)', positiveInteger))
    .addOption(deviceOption())
    .addOption(mathOption())
    .addOption(jsonOption())
    .option('--profile', 'at the end, show the time of a step by op, layer and provider')
    .option('--trace <file>', 'write a timeline of the last step')
    .addOption(logToOption())
    .option('--no-sample', 'generate no text at the end')
    .optionsGroup('Slurm:')
    .option('--slurm', 'write a batch script for sbatch')
    .addOption(numberOption('--nodes <n>', 'machines (default: 1)', ranges.processes))
    .addOption(numberOption('--ranks-per-node <n>', 'processes on each of them', ranges.processes))
    .option('--name <name>', 'name of the job (default: that of the configuration)')
    .option('--write <file>', 'file for the script (default: standard output)')
    .option('--time <time>', 'time limit, such as 4:00:00')
    .option('--partition <name>', 'partition')
    .option('--account <name>', 'account')
    .addOption(listOption('--sbatch <option>', 'another option of sbatch, such as --sbatch=--exclusive; repeatable'))
    .addOption(new Option('--launcher <program>', 'what starts ranks (default: srun)').choices(['srun', 'mpirun']))
    .addOption(numberOption('--tasks <n>', 'of a study: jobs that share the runs', ranges.processes))
    .addOption(numberOption('--jobs <n>', 'of a study: trainings at a time in a job (default: 1)', ranges.processes))
    .option('--preset <name>', 'of a study: size of a built-in study')
    .addOption(numberOption('--seeds <n>', 'of a study: use only the first n seeds', positiveInteger))
    .optionsGroup('Options:')
    .addHelpText(
      'after',
      `
Examples:
  choir launch train demo --ranks 4
  choir launch train my-run.yaml --hosts a:4,b:4 --threads 8 --restarts 3
  choir launch train my-run.yaml --hostfile hosts --print
  choir launch train --resume runs/my-run --ranks 4
  choir launch train --resume runs/my-run --checkpoint 400 --ranks 4
  choir launch train my-run.yaml --slurm --nodes 2 --ranks-per-node 4 --threads 8 --time 4:00:00 --write job.sh
  choir launch train my-run.yaml --device webgpu --slurm --nodes 16 --ranks-per-node 4 --threads 8 --write job.sh
  choir launch study m6t --slurm --tasks 8 --threads 4 --out studies/m6t --write job.sh

The number of ranks must be a multiple of parallel.expert, the size of an expert-parallel group: its ranks
share the experts of each layer. Ctrl-C, SIGTERM and SIGUSR1 make the ranks finish their step, save and stop.`,
    )
    .action((command: string, source: string | undefined, flags: LaunchFlags) => run(io, command, source, flags))
}

async function run(io: Io, command: string, source: string | undefined, flags: LaunchFlags): Promise<void> {
  if (command !== 'train' && command !== 'study')
    throw new UsageError(`invalid command: "${command}" (expected train or study)`)
  const activity: Activity = command
  const target = targetOf(activity, flags)
  if (target === 'mpirun') return launchWithMpirun(io, source, flags)
  const { writeSlurmStudy, writeSlurmTraining } = await import('../launch/write-script.ts')
  await (activity === 'study' ? writeSlurmStudy : writeSlurmTraining)(io, source, flags)
}

async function launchWithMpirun(io: Io, source: string | undefined, flags: LaunchFlags): Promise<void> {
  const { ranks, cores = physicalCores(), oversubscribe = false, bind, mpi } = flags
  const run = await loadLaunchedRun(source, flags)
  const cluster = flags.cluster === undefined ? undefined : await loadCluster(flags.cluster)
  const hosts = await hostsOf(flags, cluster)
  const threads = flags.threads ?? run.threads
  const total = ranks ?? cluster?.devices
  const layout = placeRanks({
    ...run.parallel,
    cores,
    oversubscribe,
    bind,
    ...(hosts && { hosts }),
    ...(total !== undefined && { ranks: total }),
    ...(threads !== undefined && { threads }),
    ...(cluster && { slotsPerHost: Math.min(cluster.devices, cluster.devicesPerNode) }),
  })
  // A command that is printed for another machine needs no mpirun on this one.
  const found = (await findMpirun(io, mpi)) ?? (flags.print && mpi ? { library: mpi, mpirun: 'mpirun' } : undefined)
  if (!found) throw missingMpirun(mpi)
  expectRanks(run, layout.ranks, flags)
  const directory = flags.resume ?? flags.out ?? freeDirectory(run.name)
  const settings: MpiJobSettings = {
    ...found,
    layout,
    parallel: run.parallel,
    steps: run.steps,
    program: { program: io.program, directory, ...trainArguments(source, directory, layout.threads, flags) },
    variables: choirVariables(io.env),
    restarts: flags.restarts ?? 0,
    checkpoint: flags.resume === undefined ? undefined : flags.checkpoint,
    resumeCommand: resumeCommand(io, directory, flags),
  }
  for (const note of notes(io, settings)) io.stderr.write(`choir: ${note}\n`)
  if (flags.print) io.stdout.write(`${mpiCommandLine(io, settings)}\n`)
  else await runMpiJob(io, settings)
}

/** The command that continues a run on the same processes. */
function resumeCommand(io: Io, directory: string, flags: LaunchFlags): string {
  const { ranks, hosts, hostfile, cluster, threads, cores, mpi, restarts } = flags
  const values = Object.entries({ ranks, hosts, hostfile, cluster, threads, cores, mpi, restarts })
  const words = [
    ...['launch', 'train', '--resume', directory],
    ...values.flatMap(([option, value]) => (value === undefined ? [] : [`--${option}`, String(value)])),
    ...(flags.oversubscribe ? ['--oversubscribe'] : []),
    ...(flags.bind ? [] : ['--no-bind']),
  ]
  return `${io.self} ${commandLine(words)}`
}

async function hostsOf({ hosts, hostfile }: LaunchFlags, cluster: Cluster | undefined): Promise<Host[] | undefined> {
  if (hosts !== undefined && hostfile !== undefined)
    throw new UsageError('invalid --hostfile: not with --hosts (expected one of them)')
  const list =
    hosts !== undefined
      ? parseHosts(hosts)
      : hostfile === undefined
        ? undefined
        : parseHostfile(await readGiven('--hostfile', hostfile, 'lines such as "a slots=4"'), hostfile)
  const nodes = cluster ? Math.ceil(cluster.devices / cluster.devicesPerNode) : undefined
  if (nodes !== undefined && nodes !== (list?.length ?? 1))
    throw new UsageError(
      `invalid --cluster: ${cluster?.name} has ${plural(nodes, 'node')}, ${list ? `${plural(list.length, 'host')} given` : 'this is one'} ` +
        `(expected as many ${list ? 'hosts' : '--hosts'} as nodes)`,
    )
  return list
}

function notes(io: Io, { layout, library, parallel: { expert } }: MpiJobSettings): string[] {
  return [
    ...(library === 'openmpi' && io.isRoot
      ? [
          'running as root, which Open MPI refuses unless OMPI_ALLOW_RUN_AS_ROOT and OMPI_ALLOW_RUN_AS_ROOT_CONFIRM are 1',
        ]
      : []),
    ...(layout.oversubscribe ? ['ranks share cores (--oversubscribe): expect them to wait for each other'] : []),
    ...(groupsSpanHosts(layout, expert)
      ? [`expert-parallel groups of ${expert} ranks span hosts: their all-to-all goes over the network`]
      : []),
  ]
}
