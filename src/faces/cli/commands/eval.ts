/** `choir eval`: the loss of a trained run on held-out or other text. */
import { type Command, Option } from 'commander'
import { type CapacityRule, capacityRules } from '../../../core/model/routing/contract.ts'
import { isOfDenseModel } from '../../../core/model/routing/statistics.ts'
import { count, fixed, grouped } from '../../../core/text/numbers.ts'
import type { EvalRecord } from '../../../train/step/metrics/records.ts'
import { capacityTable, ruleText } from '../display/capacities.ts'
import { labelled } from '../display/display.ts'
import { domainTable } from '../display/domains.ts'
import { columnsOf, print } from '../display/print.ts'
import { colorsFor, type Io, untilInterrupted } from '../io.ts'
import { writeJson } from '../json.ts'
import { jsonOption, listOption, type ModelFlags, withModelOptions } from '../options.ts'

interface EvalFlags extends ModelFlags {
  readonly data?: string[]
  readonly capacity: CapacityRule
  readonly json?: true
}

export function addEval(program: Command, io: Io): void {
  const command = program
    .command('eval')
    .summary('measure the loss of a trained model')
    .description(
      'Measures the loss of a checkpoint of a run, by default the newest, on its held-out documents, which it was not trained on, or ' +
        'on other text.',
    )
    .argument('<run>', 'run directory, folder of a model of transformers, or GGUF file')
    .addOption(
      listOption('--data <source>', 'text to evaluate on: a corpus name, file, folder or glob, whole; repeatable'),
    )
    .addOption(
      new Option('--capacity <rule>', 'capacity of experts for the first line; a table shows all three')
        .choices(capacityRules)
        .default('none' satisfies CapacityRule),
    )
  withModelOptions(command)
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  choir eval runs/demo
  choir eval runs/demo --data moby-dick
  choir eval runs/demo --data 'books/*.txt' --json
  choir eval runs/demo --checkpoint 400
  choir eval runs/demo --weights int8       the loss of the model that --weights int8 generates with
  choir eval runs/demo --capacity eval      the loss as reported during training

A full expert refuses (drops) further tokens. Its capacity is that of training (train), that of
evaluations (eval), or unlimited (none). Bits per byte is the loss per byte of text, comparable
between tokenizers; lower is better. c_v is the imbalance of expert loads, standard deviation over
mean; 0 is even. The gate is the factor by which the output of a token's experts is scaled, the sum of
the gates of its kept choices; an entropy near 1 means that the router prefers no expert. If the text
has domains (several files of records, or several folders), a table has the loss of each.`,
    )
    .action((directory: string, flags: EvalFlags) => run(io, directory, flags))
}

async function run(io: Io, directory: string, flags: EvalFlags): Promise<void> {
  const colors = colorsFor(io.stdout, io.env)
  const [only, ...more] = flags.data ?? []
  const evaluate = (signal: AbortSignal) =>
    io.operations.evaluateRun(directory, {
      ...(only === undefined ? {} : { source: more.length === 0 ? only : [only, ...more] }),
      capacity: flags.capacity,
      weights: flags.weights,
      copy: flags.copy,
      signal,
      ...(flags.checkpoint === undefined ? {} : { checkpoint: flags.checkpoint }),
      ...(flags.device === undefined ? {} : { device: flags.device }),
      ...(flags.threads === undefined ? {} : { threads: flags.threads }),
      ...(flags.math === undefined ? {} : { math: flags.math }),
      onMessage: (event) => {
        if (event.kind === 'notice' && flags.json) writeJson(io, event)
        else if (event.kind === 'warning' || event.kind === 'notice') io.stderr.write(`choir: ${event.message}\n`)
        else if (event.kind === 'prepare' && !flags.json) io.stderr.write(`  ${event.message}\n`)
      },
    })
  const record = await untilInterrupted(io, evaluate)
  if (flags.json) return writeJson(io, record)
  print(
    io,
    labelled(
      [
        [
          'loss',
          `${colors.bold(fixed(record.loss, 4))} nats a token${isOfDenseModel({ ...record }) ? '' : `, ${ruleText(record)}`}`,
        ],
        ['perplexity', fixed(Math.exp(record.loss), 2)],
        ['bits per byte', colors.bold(fixed(record.bits_per_byte, 4))],
        ...routingRows(record),
        ['text', `${flags.data?.join(', ') ?? 'held-out documents'}, ${count(record.evaluated_tokens)} tokens`],
        ['model', `${directory}, step ${grouped(record.step)}`],
      ],
      colors,
    ) +
      capacityTable(record, colors, columnsOf(io.stdout)) +
      domainTable(record, colors, columnsOf(io.stdout)),
  )
}

/** The row with means of gates and entropies over layers; no row for a dense model. */
function routingRows(record: EvalRecord): [string, string][] {
  if (isOfDenseModel({ ...record })) return []
  const { load_cv, load_cv_kept, dead_experts } = record
  return [
    ['c_v', `${fixed(load_cv, 2)} before drops, ${fixed(load_cv_kept, 2)} after`],
    ...gateRow(record),
    ['dead experts', grouped(dead_experts)],
  ]
}

function gateRow({ gate_mean, entropy_share }: EvalRecord): [string, string][] {
  if (gate_mean === null) return []
  const entropy = entropy_share === null ? '' : `, entropy ${fixed(entropy_share, 2)} of the largest`
  return [['gate', `${fixed(gate_mean, 2)}${entropy}, means over layers`]]
}
