/** `choir plan`: whether a training fits on a cluster, how long it takes, and in which layout. */
import type { Command } from 'commander'
import { RunError, UsageError } from '../../errors.ts'
import type { Cluster } from '../../plan/inputs/cluster.ts'
import { clusterFamilies } from '../../plan/inputs/clusters.ts'
import { loadCluster, loadPlannedRun } from '../../plan/inputs/load-plan.ts'
import { planPresets } from '../../plan/inputs/presets.ts'
import type { WhatIf } from '../../plan/search/what-if.ts'
import { loadConfig } from '../../run/load-config.ts'
import { planText, validationText, whatIfText } from '../display/plan.ts'
import { type Colors, colorsFor, type Io, writeJson } from '../io.ts'
import { jsonOption, listOption, numberOption, quoted, ranges, setOption } from '../options.ts'

interface PlanFlags {
  readonly cluster?: string
  readonly set?: readonly string[]
  readonly whatIf?: readonly string[]
  readonly price?: number
  readonly html?: string
  readonly validate?: true
  readonly calibrate?: true
  readonly json?: true
}

export function addPlan(program: Command, io: Io): void {
  const width =
    Math.max(...[...Object.keys(planPresets), ...Object.keys(clusterFamilies)].map(({ length }) => length)) + 2
  const listed = (entries: readonly (readonly [string, string])[]) =>
    entries.map(([name, text]) => `  ${name.padEnd(width)} ${text}`).join('\n')
  program
    .command('plan')
    .summary('lay a training out on a cluster: memory, time, cost')
    .description(
      'Says whether a training fits on a cluster, how long a step and the whole take, and in which layout: ' +
        'expert, data, tensor and pipeline parallel sizes, ZeRO, micro-batches, recomputation, offloading.',
    )
    .argument('[config]', 'a preset, or a YAML or JSON file: fields of a run, and plan: for how it is laid out')
    .option('--cluster <name>', 'NAME-COUNT, such as v100-480; a YAML or JSON file; or local, this machine')
    .addOption(setOption())
    .addOption(listOption('--what-if <question>', 'vary one thing: path=value,value,... or "routing"; repeatable'))
    .addOption(numberOption('--price <amount>', 'price of one device for an hour, in any currency', ranges.nonNegative))
    .option('--html <file>', 'write a report with figures, as one file')
    .option('--calibrate', 'with --cluster local: measure this machine again')
    .option('--validate', 'compare predictions with published measurements instead')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Presets, besides those of train:
${listed(Object.entries(planPresets).flatMap(([name, { description }]) => (name.startsWith('m6') ? [[name, description] as const] : [])))}

Clusters:
${listed(Object.entries(clusterFamilies).map(([name, { description }]) => [`${name}-COUNT`, description] as const))}

Examples:
  choir plan m6t-1t --cluster v100-480
  choir plan m6t-1t --cluster v100-480 --set plan.optimizer=adamw
  choir plan m6t-1t --cluster v100-480 --what-if routing
  choir plan M --cluster a100-8 --set train.batch=256 --set plan.load.run=runs/demo
  choir plan m6t-1t --cluster v100-480 --html plan.html
  choir plan demo --cluster local
  choir plan --validate
  choir plan my-model.yaml --cluster my-cluster.yaml --price 2.5 --json`,
    )
    .action((source: string | undefined, flags: PlanFlags) => run(io, source, flags))
}

async function run(io: Io, source: string | undefined, flags: PlanFlags): Promise<void> {
  const colors = colorsFor(io.stdout, io.env)
  if (flags.validate) {
    if (source !== undefined)
      throw new UsageError('invalid --validate: it compares what was published, not a configuration')
    const validation = await io.operations.validatePlanner()
    if (flags.json) writeJson(io, { kind: 'validation', ...validation })
    else io.stdout.write(validationText(validation, colors))
    return
  }
  if (source === undefined) throw new UsageError("missing argument 'config' (a preset, or a YAML or JSON file)")
  if (flags.cluster === undefined) throw new UsageError('missing --cluster (NAME-COUNT such as v100-480, or a file)')
  const { set = [], price } = flags
  if (flags.cluster === 'local') return runLocal(io, source, flags, colors)
  if (flags.calibrate) throw new UsageError('invalid --calibrate: only --cluster local is measured')
  const cluster = withPrice(await loadCluster(flags.cluster), price)
  const plan = await io.operations.plan(await loadPlannedRun(source, set), cluster)
  const questions: WhatIf[] = []
  for (const question of flags.whatIf ?? []) questions.push(await io.operations.whatIf(source, set, cluster, question))
  if (flags.json) {
    writeJson(io, { kind: 'plan', ...plan })
    for (const question of questions) writeJson(io, { kind: 'what-if', ...question })
  } else if (questions.length > 0)
    for (const question of questions) io.stdout.write(whatIfText(question, source, colors))
  else io.stdout.write(planText(plan, source, colors))
  if (flags.html !== undefined) {
    await io.operations.writePlanReport(flags.html, {
      name: source,
      plan,
      questions,
      command: commandOf(io, source, flags),
    })
    if (!flags.json) io.stdout.write(`  report  ${colors.bold(flags.html)}\n\n`)
  }
  if (plan.best.length === 0) throw new RunError(`${source} does not fit on ${cluster.name} in any layout`)
}

/** What `train` would need here. */
async function runLocal(io: Io, source: string, flags: PlanFlags, colors: Colors): Promise<void> {
  for (const [option, given] of [
    ['--what-if', flags.whatIf],
    ['--price', flags.price],
  ] as const)
    if (given !== undefined) throw new UsageError(`invalid ${option}: not with --cluster local`)
  const config = await loadConfig(source, flags.set ?? [])
  const say = (message: string) => io.stderr.write(`  ${message}\n`)
  const again = flags.calibrate ?? false
  const plan = await io.operations.planLocal(config, flags.json ? { again } : { again, say })
  if (flags.json) writeJson(io, { kind: 'plan', ...plan })
  else io.stdout.write(planText(plan, source, colors))
  if (flags.html !== undefined) {
    await io.operations.writePlanReport(flags.html, {
      name: source,
      plan,
      questions: [],
      command: commandOf(io, source, flags),
    })
    if (!flags.json) io.stdout.write(`  report  ${colors.bold(flags.html)}\n\n`)
  }
  if (plan.best.length === 0) throw new RunError(`${source} does not fit into the memory of this machine`)
}

/** What makes the same report again. */
function commandOf(
  io: Io,
  source: string,
  { cluster = '', set = [], whatIf = [], price, html = '' }: PlanFlags,
): string {
  const words = [
    'plan',
    source,
    '--cluster',
    cluster,
    ...set.flatMap((assignment) => ['--set', assignment]),
    ...whatIf.flatMap((question) => ['--what-if', question]),
    ...(price === undefined ? [] : ['--price', String(price)]),
    '--html',
    html,
  ]
  return `${io.self} ${words.map(quoted).join(' ')}`
}

function withPrice(cluster: Cluster, price: number | undefined): Cluster {
  return price === undefined ? cluster : { ...cluster, pricePerDeviceHour: price }
}
