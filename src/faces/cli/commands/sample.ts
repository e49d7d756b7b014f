/** The text that a model generates at the end of its training. */

import { wrap } from '../../../core/text/columns.ts'
import { printable } from '../../../core/text/printable.ts'
import { quoted } from '../../../core/text/shell.ts'
import { sourceName } from '../display/summary.ts'
import { type Colors, Interrupted, type Io, interruptible } from '../io.ts'
import { writeJson } from '../json.ts'
import type { Job } from '../train-job.ts'

/** Prompts that fit the built-in corpora. */
const prompts: Readonly<Record<string, string>> = { sotu: 'The people of the United States', 'moby-dick': 'The whale' }

export async function writeSample(
  io: Io,
  job: Job,
  directory: string,
  flags: { readonly json?: true; readonly threads?: number },
  colors: Colors,
): Promise<void> {
  const prompt = prompts[sourceName(job.config)] ?? 'The'
  let text = ''
  const interrupted = await interruptible(io, async (signal) => {
    const pieces = io.operations.generate(directory, {
      prompt,
      tokens: 120,
      temperature: 0.8,
      topK: 40,
      topP: 0.95,
      seed: 0,
      signal,
      ...(flags.threads === undefined ? {} : { threads: flags.threads }),
    })
    for await (const piece of pieces) text += piece
    return signal.aborted
  })
  if (interrupted) throw new Interrupted()
  if (flags.json) return writeJson(io, { kind: 'sample', prompt, text })
  const width = Math.min(io.stdout.columns || 80, 84) - 6
  const [first = '', ...more] = wrap(printable(`${prompt}${text}`.trimEnd()), width)
  // On a narrow terminal the prompt may wrap; then it is not coloured.
  const head = first.startsWith(prompt) ? colors.cyan(prompt) + first.slice(prompt.length) : first
  const lines = [head, ...more].map((line) => `  ${colors.dim('│')} ${line}\n`)
  io.stdout.write(`\n  ${colors.dim('the model continues a prompt')}\n${lines.join('')}\n`)
  io.stdout.write(`  ${colors.dim(`more: ${io.self} generate ${quoted(directory)} --prompt "${prompt}"`)}\n`)
}
