/** `choir generate`: prints text from a trained model while it is generated. */
import type { Command } from 'commander'
import { UsageError } from '../../../core/errors.ts'
import { printable } from '../../../core/text/printable.ts'
import type { OnMessage } from '../../../train/run/messages.ts'
import type { JsonSchema } from '../../../use/infer/json/schema.ts'
import type { GeneratedEnd, Prompt } from '../../../use/runs/generate.ts'
import { printNote } from '../display/print.ts'
import { colorsFor, Interrupted, type Io, interruptible } from '../io.ts'
import { writeJson } from '../json.ts'
import { jsonOption, listOption, type ModelFlags, numberOption, ranges, withModelOptions } from '../options.ts'
import { readPrompt } from '../prompt.ts'
import { readGiven } from '../read-given.ts'

interface GenerateFlags extends Omit<ModelFlags, 'math'> {
  readonly prompt?: string
  readonly message?: string
  readonly system?: string
  readonly tokens: number
  readonly temperature: number
  readonly topK: number
  readonly topP: number
  readonly seed: number
  readonly stop?: readonly string[]
  readonly jsonSchema?: string
  readonly json?: true
}

export function addGenerate(program: Command, io: Io): void {
  const command = program
    .command('generate')
    .summary('generate text with a trained model')
    .description(
      'Continues a prompt with a checkpoint of a run, by default the newest, or answers a message. Prints the text ' +
        'while it is generated.',
    )
    .argument('<run>', 'run directory, folder of a model of transformers, or GGUF file')
    .option('--prompt <text>', 'text to continue; - reads it from standard input')
    .option('--message <text>', 'message to an imported chat model, which answers it; - reads standard input')
    .option('--system <text>', 'system message before --message')
    .addOption(numberOption('--tokens <n>', 'tokens to generate', ranges.positiveInteger).default(200))
    .addOption(
      numberOption('--temperature <t>', 'randomness: 0 takes the likeliest token', ranges.nonNegative).default(0.8),
    )
    .addOption(numberOption('--top-k <k>', 'sample among the k likeliest tokens; 0 = all', ranges.count).default(40))
    .addOption(
      numberOption('--top-p <p>', 'sample among the likeliest tokens with total probability p', ranges.share).default(
        0.95,
      ),
    )
    .addOption(numberOption('--seed <n>', 'the same seed gives the same text', ranges.count).default(0))
    .addOption(listOption('--stop <text>', 'end before this text, and print nothing of it; repeatable'))
    .option('--json-schema <file>', 'write a value of JSON that is valid by this JSON Schema')
  withModelOptions(command, { math: false })
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  choir generate runs/demo --prompt "The people of the United States"
  choir generate runs/demo --prompt "Fellow citizens" --tokens 400 --seed 7
  choir generate runs/demo --prompt "Peace" --temperature 0 > peace.txt
  choir generate runs/demo --prompt - --stop $'\\n\\n' < question.txt
  choir generate runs/demo --prompt "Peace" --checkpoint 400 --json | tail -1
  choir generate runs/demo --prompt "Peace" --weights int8
  choir generate runs/qwen3 --message "Describe Saturn." --json-schema planet.json > saturn.json
  choir generate runs/qwen3 --system "Answer in one word." --message "Which is the largest planet?"

One line break at the end of standard input is not a part of the prompt.
--message writes the chat by the chat template that the model was imported with, and prints the answer only.
With --json each piece of the text is a line; the last line has all of the text, its number of tokens, the
seconds, and why it ended: the model ended it, or the value of --json-schema is complete (end), --stop (stop),
--tokens (length), or Ctrl-C (interrupted).`,
    )
    .action((directory: string, flags: GenerateFlags) => run(io, directory, flags))
}

async function run(io: Io, directory: string, flags: GenerateFlags): Promise<void> {
  const { json, jsonSchema, prompt: text, message, system, ...others } = flags
  if (others.stop?.includes('')) throw new UsageError('invalid --stop: "" (expected text)')
  const options = jsonSchema === undefined ? others : { ...others, schema: await schemaIn(jsonSchema) }
  const prompt = await promptOf(io, { text, message, system })
  const onMessage: OnMessage = (event) => {
    if (json) writeJson(io, event)
    else if (event.kind !== 'prepare') printNote(io, event.message)
  }
  const interrupted = await interruptible(io, async (signal) => {
    const pieces = io.operations.generate(directory, { ...options, prompt, signal, onMessage })
    try {
      if (json) await writeEvents(io, prompt, pieces)
      else await writeText(io, prompt, pieces, signal)
    } catch (error) {
      if (!signal.aborted) throw error
    }
    return signal.aborted
  })
  if (interrupted) throw new Interrupted()
}

/** @throws UsageError if the file cannot be read or is no JSON */
async function schemaIn(file: string): Promise<JsonSchema> {
  const text = await readGiven('--json-schema', file, 'a JSON Schema')
  try {
    return JSON.parse(text) as JsonSchema
  } catch {
    throw new UsageError(`invalid --json-schema: "${file}" is not JSON (expected a JSON Schema)`)
  }
}

interface Given {
  readonly text: string | undefined
  readonly message: string | undefined
  readonly system: string | undefined
}

/** @throws UsageError unless there is either a text or a message */
async function promptOf(io: Io, { text, message, system }: Given): Promise<Prompt> {
  if (text !== undefined) {
    const other = message !== undefined ? '--message' : system !== undefined ? '--system' : undefined
    if (other !== undefined)
      throw new UsageError(`invalid ${other}: not with --prompt, which is a text to continue (leave one of them out)`)
    return readPrompt(io, text)
  }
  if (message === undefined)
    throw new UsageError(
      "required option '--prompt <text>' not specified (or --message <text> for a chat model)\n(see: choir generate --help)",
    )
  const content = await readPrompt(io, message, '--message')
  return [...(system === undefined ? [] : [{ role: 'system', content: system }]), { role: 'user', content }]
}

async function writeText(io: Io, prompt: Prompt, pieces: AsyncIterable<string>, signal: AbortSignal): Promise<void> {
  const { cyan } = colorsFor(io.stdout, io.env)
  // A terminal shows control characters of the model and does not obey them; a file gets every character as it is.
  const shown = (text: string) => (io.stdout.isTTY ? printable(text) : text)
  let started = false
  // The prompt is printed when the text begins: if the run cannot be read, only the error should appear.
  const start = (): void => {
    if (!started && typeof prompt === 'string') io.stdout.write(cyan(shown(prompt)))
    started = true
  }
  try {
    for await (const piece of pieces) {
      start()
      io.stdout.write(shown(piece))
      if (signal.aborted) break
    }
    if (!signal.aborted) start()
  } finally {
    if (started) io.stdout.write('\n')
  }
}

async function writeEvents(io: Io, prompt: Prompt, pieces: AsyncGenerator<string, GeneratedEnd>): Promise<void> {
  const given = typeof prompt === 'string' ? { prompt } : { messages: prompt }
  let text = ''
  for (;;) {
    const { done, value } = await pieces.next()
    if (done) return writeJson(io, { kind: 'summary', ...given, text, ...value })
    text += value
    writeJson(io, { kind: 'piece', text: value })
  }
}
