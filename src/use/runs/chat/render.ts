/**
 * Writes a chat as the text that a model continues with its answer, by the chat template that the model came with. A
 * template is a program in Jinja, whose author is a stranger: its time, its memory and the length of its text are
 * limited.
 */
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { formatValue } from '../../../core/config/problems.ts'
import { option, RunError, UsageError, wording } from '../../../core/errors.ts'
import { packageFile } from '../../../core/package-file.ts'
import type { TextRules } from '../../../train/data/tokenizer/text-rules.ts'
import type { Chat, ChatMessage, Rendered } from './contract.ts'

/** Longest time for rendering, in seconds, with the start of the thread on a busy machine. */
const PATIENCE = 10
/** Memory of the thread, in MiB. */
const MEMORY = 256
/** Maximum length of a rendered chat, in characters: more than any context holds. */
const MAX_TEXT = 2 ** 22

/**
 * Checks messages of a caller.
 * @throws UsageError naming the message that is not an object of a role and a content
 */
export function expectMessages(messages: unknown): asserts messages is readonly ChatMessage[] {
  const expected = "expected { role: 'user', content: 'Hello' }"
  if (!Array.isArray(messages) || messages.length === 0)
    throw new UsageError(`invalid messages: ${formatValue(messages)} (expected a list of at least one: ${expected})`)
  for (const [i, message] of (messages as Partial<ChatMessage>[]).entries()) {
    const { role, content, ...others } = message ?? {}
    const isMessage = typeof role === 'string' && role !== '' && typeof content === 'string'
    if (!isMessage || Object.keys(others).length > 0)
      throw new UsageError(`invalid messages[${i}]: ${formatValue(message)} (${expected})`)
  }
}

/**
 * Renders a chat, up to the place where the answer of the model begins.
 * @param run Names the run in messages.
 * @throws UsageError if the model has no chat template, or the template refuses the messages; RunError if the template
 *   does not end, or needs too much memory
 */
export async function renderChat(
  { chatTemplate, specialTokens }: TextRules,
  messages: readonly ChatMessage[],
  run: string,
  { signal, patience = PATIENCE }: { readonly signal?: AbortSignal | undefined; readonly patience?: number } = {},
): Promise<string> {
  if (chatTemplate === null)
    throw new UsageError(
      wording`the model in ${formatValue(run)} has no chat template, so it is no chat model (give it a text to continue: ${option('prompt')})`,
    )
  const workerData: Chat = { template: chatTemplate, messages, specialTokens, limit: MAX_TEXT }
  const worker = new Worker(packageFile('dist/use/runs/chat/worker.js'), {
    workerData,
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: MEMORY },
  })
  try {
    const timeout = AbortSignal.timeout(patience * 1000)
    const [rendered] = await once(worker, 'message', { signal: signal ? AbortSignal.any([signal, timeout]) : timeout })
    if ('text' in (rendered as Rendered)) return rendered.text
    throw new UsageError(`the chat template of ${formatValue(run)} refuses these messages: ${rendered.message}`)
  } catch (error) {
    signal?.throwIfAborted()
    const { name, code } = error as NodeJS.ErrnoException
    if (name === 'AbortError') throw unusable(run, `has not ended after ${patience} s`)
    if (code === 'ERR_WORKER_OUT_OF_MEMORY') throw unusable(run, `needs more than ${MEMORY} MiB of memory`)
    throw error
  } finally {
    await worker.terminate()
  }
}

const unusable = (run: string, reason: string): RunError =>
  new RunError(`the chat template of ${formatValue(run)} ${reason} (change chatTemplate in its generation.json)`)
