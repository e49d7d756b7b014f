/** `choir plan`: whether a training fits on a cluster, how long it takes, and in which layout. */
import type { Command } from 'commander'
import { RunError } from '../../errors.ts'
import { clusterFamilies } from '../../plan/clusters.ts'
import type { Cluster } from '../../plan/index.ts'
import { loadCluster, loadPlannedRun } from '../../plan/load-plan.ts'
import { planPresets } from '../../plan/presets.ts'
import { planText, whatIfText } from '../display/plan.ts'
import { colorsFor, type Io, writeJson } from '../io.ts'
import { jsonOption, listOption, numberOption, ranges, setOption } from '../options.ts'

interface PlanFlags {
  readonly cluster?: string
  readonly set?: readonly string[]
  readonly whatIf?: readonly string[]
  readonly price?: number
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
    .argument('<config>', 'a preset, or a YAML or JSON file: fields of a run, and plan: for how it is laid out')
    .requiredOption('--cluster <name>', 'NAME-COUNT, such as v100-480, or a YAML or JSON file')
    .addOption(setOption())
    .addOption(listOption('--what-if <question>', 'vary one thing: path=value,value,... or "routing"; repeatable'))
    .addOption(numberOption('--price <amount>', 'price of one device for an hour, in any currency', ranges.nonNegative))
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
  choir plan my-model.yaml --cluster my-cluster.yaml --price 2.5 --json`,
    )
    .action((source: string, flags: PlanFlags) => run(io, source, flags))
}

async function run(io: Io, source: string, flags: PlanFlags): Promise<void> {
  const { set = [], whatIf = [], price } = flags
  const cluster = withPrice(await loadCluster(flags.cluster ?? ''), price)
  const colors = colorsFor(io.stdout, io.env)
  if (whatIf.length > 0) {
    for (const question of whatIf) {
      const answer = await io.engine.whatIf(source, set, cluster, question)
      if (flags.json) writeJson(io, { kind: 'what-if', ...answer })
      else io.stdout.write(whatIfText(answer, source, colors))
    }
    return
  }
  const plan = await io.engine.plan(await loadPlannedRun(source, set), cluster)
  if (flags.json) writeJson(io, { kind: 'plan', ...plan })
  else io.stdout.write(planText(plan, source, colors))
  if (plan.best.length === 0) throw new RunError(`${source} does not fit on ${cluster.name} in any layout`)
}

function withPrice(cluster: Cluster, price: number | undefined): Cluster {
  return price === undefined ? cluster : { ...cluster, pricePerDeviceHour: price }
}
