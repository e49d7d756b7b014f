/** `choir plan`: predicts whether a training fits on a cluster, how long it takes, and in which layout. */
import type { Command } from 'commander'
import { presets } from '../../../core/config/presets.ts'
import { RunError, UsageError } from '../../../core/errors.ts'
import { table } from '../../../core/text/columns.ts'
import { commandLine } from '../../../core/text/shell.ts'
import { loadConfig } from '../../../node/run/load-config.ts'
import type { Cluster } from '../../../tools/plan/inputs/cluster.ts'
import { clusterFamilies } from '../../../tools/plan/inputs/clusters.ts'
import { demandWords } from '../../../tools/plan/inputs/intervals.ts'
import { loadCluster, loadPlannedRun } from '../../../tools/plan/inputs/load-plan.ts'
import { planPresets } from '../../../tools/plan/inputs/presets.ts'
import { calibrated } from '../../../tools/plan/measured/calibrate.ts'
import type { Plan } from '../../../tools/plan/plan.ts'
import type { WhatIf } from '../../../tools/plan/what-if.ts'
import { planText } from '../display/plan/plan.ts'
import { whatIfText } from '../display/plan/what-if.ts'
import { columnsOf, print } from '../display/print.ts'
import { type Colors, colorsFor, type Io } from '../io.ts'
import { writeJson } from '../json.ts'
import { jsonOption, listOption, numberOption, probabilityOption, ranges, setOption } from '../options.ts'
import { expectOutputs } from '../output-files.ts'

interface PlanFlags {
  readonly cluster?: string
  readonly set?: readonly string[]
  readonly whatIf?: readonly string[]
  readonly measured?: readonly string[]
  readonly ledger?: string
  readonly fitsWith?: number
  readonly price?: number
  readonly html?: string
  readonly trace?: string
  readonly calibrate?: true
  readonly json?: true
}

export function addPlan(program: Command, io: Io): void {
  const listing = (entries: readonly (readonly [string, string])[]) =>
    table(
      entries.map(([name, text]) => [`  ${name}`, text]),
      'll',
    ).join('\n')
  program
    .command('plan')
    .summary('predict memory, time and cost of a training on a cluster')
    .description(
      'Predicts whether a training fits on a cluster and how long a step and the whole training take. Finds the ' +
        'fastest layouts: expert, data, tensor and pipeline parallel sizes, ZeRO, micro-batches, recomputation, offloading.',
    )
    .argument('[config]', 'a preset, or a YAML or JSON file: the fields of a run, and plan: for its layout')
    .option('--cluster <name>', 'NAME-COUNT such as v100-480, a YAML or JSON file, or local for this machine')
    .addOption(setOption())
    .addOption(
      listOption(
        '--what-if <question>',
        'plan for each value of a field: path=value,value,... or "routing"; repeatable',
      ),
    )
    .addOption(listOption('--measured <file>', 'rates of links from the output of nccl-tests or OSU; repeatable'))
    .option('--ledger <run>', 'use the traffic between ranks that this run measured (it needs parallel.ledger)')
    .addOption(
      probabilityOption(
        '--fits-with <probability>',
        'count a layout as fitting from this probability on, such as 90% (default: 50%)',
      ),
    )
    .addOption(numberOption('--price <amount>', 'price of one device per hour, in any currency', ranges.nonNegative))
    .option('--html <file>', 'write a report with figures to one HTML file')
    .option('--trace <file>', 'write a timeline of the predicted step, for ui.perfetto.dev')
    .option('--calibrate', 'measure this machine again (with --cluster local)')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Presets, in addition to those of train:
${listing(Object.entries(planPresets).flatMap(([name, { description }]) => (Object.hasOwn(presets, name) ? [] : [[name, description] as const])))}

Clusters:
${listing(Object.entries(clusterFamilies).map(([name, { description }]) => [`${name}-COUNT`, description] as const))}

Examples:
  choir plan m6t-1t --cluster v100-480
  choir plan m6t-1t --cluster v100-480 --set plan.optimizer=adamw
  choir plan m6t-1t --cluster v100-480 --what-if routing
  choir plan m6t-1t --cluster v100-480 --fits-with 90%
  choir plan M --cluster a100-8 --set train.batch=256 --set plan.load.run=runs/demo
  choir plan M --cluster a100-8 --ledger runs/M
  choir plan mixtral-8x7b --cluster h100-64 --measured all_reduce_perf.txt
  choir plan m6t-1t --cluster v100-480 --html plan.html
  choir plan deepseek-v3 --cluster h800-2048 --trace step.json
  choir plan demo --cluster local
  choir plan my-model.yaml --cluster my-cluster.yaml --price 2.5 --json

A layout such as "data 8 · expert 4" has 8 devices that share the sequences of a step; each 4 of them
share the experts of a layer. MFU is the share of the devices' peak rate that the operations of the
model use; higher is better. Dropped is the share of assignments of tokens to experts that full
experts refuse. c_v is the imbalance of expert loads (standard deviation / mean of the tokens of an
expert); 0 is even. A layout fits with a probability, since its memory is predicted with an error.`,
    )
    .action((source: string | undefined, flags: PlanFlags) => run(io, source, flags))
}

async function run(io: Io, source: string | undefined, flags: PlanFlags): Promise<void> {
  const colors = colorsFor(io.stdout, io.env)
  if (source === undefined) throw new UsageError("missing argument 'config' (a preset, or a YAML or JSON file)")
  if (flags.cluster === undefined) throw new UsageError('missing --cluster (NAME-COUNT such as v100-480, or a file)')
  const { price } = flags
  await expectOutputs(['html', flags.html, 'report'], ['trace', flags.trace, 'trace'])
  const set = setsOf(flags)
  if (flags.cluster === 'local') return runLocal(io, source, flags, colors)
  if (flags.calibrate) throw new UsageError('invalid --calibrate: only --cluster local is measured')
  const cluster = withPrice(await calibrated(await loadCluster(flags.cluster), flags.measured ?? []), price)
  const plan = await io.operations.plan(await loadPlannedRun(source, set), cluster)
  const questions: WhatIf[] = []
  for (const question of flags.whatIf ?? []) questions.push(await io.operations.whatIf(source, set, cluster, question))
  if (flags.json) {
    writeJson(io, { kind: 'plan', ...plan })
    for (const question of questions) writeJson(io, { kind: 'what-if', ...question })
  } else if (questions.length > 0)
    for (const question of questions) print(io, whatIfText(question, source, colors, columnsOf(io.stdout)))
  else print(io, planText(plan, source, colors, columnsOf(io.stdout)))
  await writeReport(io, source, flags, plan, questions)
  await writeTimeline(io, source, flags, plan)
  if (!plan.fits) {
    const demand = demandWords(plan.run.plan.fitsWith)
    throw new RunError(`${source} does not fit on ${cluster.name} in any layout${demand}`)
  }
}

/** Prints memory and time of `choir train` on this machine. */
async function runLocal(io: Io, source: string, flags: PlanFlags, colors: Colors): Promise<void> {
  for (const [option, given] of [
    ['--what-if', flags.whatIf],
    ['--measured', flags.measured],
    ['--ledger', flags.ledger],
    ['--fits-with', flags.fitsWith],
    ['--price', flags.price],
    ['--trace', flags.trace],
  ] as const)
    if (given !== undefined) throw new UsageError(`invalid ${option}: not with --cluster local`)
  const config = await loadConfig(source, flags.set ?? [])
  const say = (message: string) => io.stderr.write(`  ${message}\n`)
  const again = flags.calibrate ?? false
  const plan = await io.operations.planLocal(
    config,
    flags.json ? { recalibrate: again } : { recalibrate: again, onMessage: say },
  )
  if (flags.json) writeJson(io, { kind: 'plan', ...plan })
  else print(io, planText(plan, source, colors, columnsOf(io.stdout)))
  await writeReport(io, source, flags, plan, [])
  if (!plan.fits) throw new RunError(`${source} does not fit into the memory of this machine`)
}

/** The assignments of `--set`, and those for `--ledger` and `--fits-with` if they are given. */
const setsOf = ({ set = [], ledger, fitsWith }: PlanFlags): string[] => [
  ...set,
  ...(ledger === undefined ? [] : [`plan.load.ledger=${JSON.stringify(ledger)}`]),
  ...(fitsWith === undefined ? [] : [`plan.fitsWith=${fitsWith}`]),
]

/** Writes the report to the file of `--html`, if one is given. */
async function writeReport(io: Io, source: string, flags: PlanFlags, plan: Plan, questions: readonly WhatIf[]) {
  if (flags.html === undefined) return
  const command = planCommand(io, source, flags)
  await io.operations.writePlanReport(flags.html, { name: source, plan, questions, command })
  if (!flags.json) io.stdout.write(`  report  ${colorsFor(io.stdout, io.env).bold(flags.html)}\n\n`)
}

/** Writes the timeline of the best layout to the file of `--trace`, if one is given and a layout fits. */
async function writeTimeline(io: Io, source: string, { trace, json }: PlanFlags, plan: Plan): Promise<void> {
  const [best] = plan.best
  if (trace === undefined || !best) return
  const { writeTrace } = await import('../trace.ts')
  const events = await io.operations.planTimeline(plan, best)
  const stages = best.layout.pipeline
  const rowName = (stage: number) => (stages === 1 ? 'slowest rank' : `stage ${stage + 1} of ${stages}, slowest rank`)
  await writeTrace(trace, `choir plan ${source} on ${plan.cluster.name}`, events, rowName)
  if (json) writeJson(io, { kind: 'trace', path: trace })
  else io.stdout.write(`  trace  ${colorsFor(io.stdout, io.env).bold(trace)} (open it at ui.perfetto.dev)\n\n`)
}

/** The command that writes the same report. */
function planCommand(
  io: Io,
  source: string,
  { cluster = '', set = [], measured = [], ledger, fitsWith, whatIf = [], price, html = '' }: PlanFlags,
): string {
  const words = [
    'plan',
    source,
    '--cluster',
    cluster,
    ...set.flatMap((assignment) => ['--set', assignment]),
    ...whatIf.flatMap((question) => ['--what-if', question]),
    ...measured.flatMap((file) => ['--measured', file]),
    ...(ledger === undefined ? [] : ['--ledger', ledger]),
    ...(fitsWith === undefined ? [] : ['--fits-with', String(fitsWith)]),
    ...(price === undefined ? [] : ['--price', String(price)]),
    '--html',
    html,
  ]
  return `${io.self} ${commandLine(words)}`
}

function withPrice(cluster: Cluster, price: number | undefined): Cluster {
  return price === undefined ? cluster : { ...cluster, pricePerDeviceHour: price }
}
