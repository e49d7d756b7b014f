/** `choir worth`: whether a model should be dense or have experts, for a number of training tokens. */
import type { Command } from 'commander'
import { UsageError } from '../../../core/errors.ts'
import type { ModelConfig } from '../../../core/model/config.ts'
import { loadConfig } from '../../../node/run/load-config.ts'
import { loadCluster, loadPlannedRun } from '../../../tools/plan/inputs/load-plan.ts'
import type { Plan } from '../../../tools/plan/plan.ts'
import { worthText } from '../display/plan/worth.ts'
import { print } from '../display/print.ts'
import { colorsFor, type Io } from '../io.ts'
import { writeJson } from '../json.ts'
import { jsonOption, setOption, tokensOption } from '../options.ts'

interface WorthFlags {
  readonly tokens?: number
  readonly law?: string
  readonly cluster: string
  readonly set?: readonly string[]
  readonly json?: true
}

export function addWorth(program: Command, io: Io): void {
  program
    .command('worth')
    .summary('say whether experts are worth it for a model and a number of tokens')
    .description(
      'Compares a dense model with experts of the same size: the difference in loss that a law expects, with its interval, ' +
        'the tokens from which on experts pay, and their memory and time. The law is that of a study (view: map).',
    )
    .argument('<config>', 'a preset, or a YAML or JSON file: the fields of a run, and plan: for its layout')
    .addOption(
      tokensOption('tokens of the whole training, such as 300M (default: plan.tokens, or steps × batch × sequence)'),
    )
    .option('--law <file>', 'the law.json of a study (default: the law of this version)')
    .option(
      '--cluster <name>',
      'where it is trained: NAME-COUNT such as h100-8, a YAML or JSON file, or local',
      'local',
    )
    .addOption(setOption())
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  choir worth demo --tokens 10M --set model.moe=null
  choir worth demo --tokens 10M --set model.moe=null --law studies/map/law.json
  choir worth demo --tokens 10M --set model.moe=null --cluster h100-8 --json

Experts pay if the model with experts has a lower loss than the dense model with as many active
parameters (those that compute a token) after as many tokens. Break-even is the number of tokens
from which on they do. Laws are of top-1: a model whose tokens use several experts, or a shared
one, gets no prediction.`,
    )
    .action((source: string, flags: WorthFlags) => run(io, source, flags))
}

async function run(io: Io, source: string, { tokens: given, law: file, cluster: name, set = [], json }: WorthFlags) {
  if (file?.trim() === '') throw new UsageError('invalid --law: "" (expected the law.json of a study)')
  const law = await io.operations.loadLaw(file)
  const { config, planned, planOf } =
    name === 'local' ? await onThisMachine(io, source, set, json) : await on(io, source, name, set)
  const tokens = given ?? planned ?? config.train.steps * config.train.batch * config.model.sequence
  const found = await io.operations.worth(config.model, tokens, law, planOf)
  if (json) writeJson(io, { kind: 'worth', ...found })
  else print(io, worthText(found, source, colorsFor(io.stdout, io.env)))
}

async function onThisMachine(io: Io, source: string, set: readonly string[], json?: true) {
  const config = await loadConfig(source, set)
  const onMessage = (message: string) => io.stderr.write(`  ${message}\n`)
  const planOf = (model: ModelConfig): Promise<Plan> =>
    io.operations.planLocal({ ...config, model }, json ? {} : { onMessage })
  return { config, planned: null, planOf }
}

async function on(io: Io, source: string, name: string, set: readonly string[]) {
  const [config, cluster] = [await loadPlannedRun(source, set), await loadCluster(name)]
  const planOf = (model: ModelConfig): Promise<Plan> => io.operations.plan({ ...config, model }, cluster)
  return { config, planned: config.plan.tokens, planOf }
}
