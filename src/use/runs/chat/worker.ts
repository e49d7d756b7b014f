/** Renders a chat template. A template is a stranger's program, so it runs in a thread that can be ended. */
import { parentPort, workerData } from 'node:worker_threads'
import { Template } from '@huggingface/jinja'
import { grouped } from '../../../core/text/numbers.ts'
import type { Chat, Rendered } from './contract.ts'

function render({ template, messages, specialTokens, limit }: Chat): Rendered {
  try {
    // The variables of `apply_chat_template` in transformers.
    const values = { messages, tools: null, documents: null, add_generation_prompt: true, ...specialTokens }
    const text = new Template(template).render(values)
    if (text.length <= limit) return { text }
    return { message: `its text has ${grouped(text.length)} characters (expected at most ${grouped(limit)})` }
  } catch (error) {
    return { message: (error as Error).message }
  }
}

parentPort?.postMessage(render(workerData as Chat))
