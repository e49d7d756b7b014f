/** `choir score`: log-probabilities of texts, of continuations and of choices. */
import { type Command, Option } from 'commander'
import { UsageError } from '../../../core/errors.ts'
import { type NamedItem, scorable } from '../../../use/infer/scoring/scorable.ts'
import { columnsOf, printNote } from '../display/print.ts'
import { ScoreTotals, scoreRows, scoreTitles, surprisalLines } from '../display/scores.ts'
import { colorsFor, type Io, untilInterrupted } from '../io.ts'
import { writeJson } from '../json.ts'
import { jsonOption, listOption, type ModelFlags, numberOption, ranges, withModelOptions } from '../options.ts'
import { readItems } from '../score-input.ts'

interface ScoreFlags extends ModelFlags {
  readonly text?: readonly string[]
  readonly data?: readonly string[]
  readonly stride?: number
  readonly begin: boolean
  readonly surprisal?: true
  readonly json?: true
}

export function addScore(program: Command, io: Io): void {
  const command = program
    .command('score')
    .summary('compute the log-probability of texts')
    .description(
      'Computes the log-probability of each token of texts, of continuations of a context, or of choices, with a ' +
        'checkpoint of a run, by default the newest. Reads lines of JSON from --data or standard input, or a --text.',
    )
    .argument('<run>', 'run directory, folder of a model of transformers, or GGUF file')
    .addOption(listOption('--text <text>', 'a text to score; repeatable'))
    .addOption(listOption('--data <file>', 'file of JSON Lines; - is standard input, the default; repeatable'))
    .addOption(
      numberOption(
        '--stride <n>',
        'distance of windows in a text longer than the context, in tokens (default: half of the context)',
        ranges.positiveInteger,
      ),
    )
    .addOption(new Option('--no-begin', 'do not put the token that begins a text before each text'))
    .addOption(new Option('--surprisal', 'print each token with its surprisal in bits'))
  withModelOptions(command)
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  choir score runs/demo --text "The people of the United States"
  choir score runs/demo --text "We the people" --surprisal
  choir score runs/demo --data questions.jsonl > scores.jsonl
  echo '{"context": "The people of the United", "continuation": " States"}' | choir score runs/demo
  echo '{"context": "We the", "choices": [" people", " senate"]}' | choir score runs/demo --json

A line of the input has the field text, or context and continuation, or context and choices. Only continuations and
choices are scored, given their context. A terminal shows a table; a file or a pipe, and --json, get a line of JSON
for each line of the input. Log-probabilities are in nats: total is their sum, mean is per token, and higher is
better. Greedy means that each token of a continuation was the most probable. Experts have no capacity limit, as in
generation, so a score does not depend on other texts.`,
    )
    .action((directory: string, flags: ScoreFlags) => run(io, directory, flags))
}

async function run(io: Io, directory: string, flags: ScoreFlags): Promise<void> {
  const { text, data, surprisal, json, ...options } = flags
  if (text && data) throw new UsageError('--text and --data exclude each other (put the text on a line of the file)')
  if (surprisal && json)
    throw new UsageError('--surprisal and --json exclude each other (--json has the log-probability of each token)')
  const given = text?.map((value) => scorable(value, '--text'))
  const isJson = json === true || (!surprisal && !io.stdout.isTTY)
  const colors = colorsFor(io.stdout, io.env)
  const totals = new ScoreTotals()
  await untilInterrupted(io, async (signal) => {
    const items = given ? each(given) : readItems(io, data ?? ['-'], signal)
    const scored = io.operations.score(directory, items, {
      ...options,
      signal,
      onMessage: (event) => {
        // Standard output has a line for each item and nothing else.
        if (event.kind !== 'prepare') printNote(io, event.message)
      },
    })
    let isFirst = true
    for await (const each of scored) {
      totals.add(each.score)
      if (isJson) writeJson(io, { kind: 'score', ...each.score })
      else if (surprisal) io.stdout.write(surprisalLines(each, colors))
      else io.stdout.write((isFirst ? scoreTitles(colors) : '') + scoreRows(each, colors, columnsOf(io.stdout)))
      isFirst = false
      signal.throwIfAborted()
    }
  })
  if (!isJson) io.stdout.write(totals.text(colors))
}

async function* each(items: readonly NamedItem[]): AsyncGenerator<NamedItem, void> {
  yield* items
}
