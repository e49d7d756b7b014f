/** Entry point of a model process. Arguments: a run directory, and further paths that may be read. */
import { setPriority } from 'node:os'
import { problemOf } from '../../http/problem.ts'
import type { FromProcess, ToProcess } from './messages.ts'
import { TracedModel } from './traced-model.ts'

const [, , directory = '', ...readable] = process.argv
let model: Promise<TracedModel> | undefined
/** The checkpoint of `model`; undefined for the newest. */
let modelOf: number | undefined

// A training on the same machine has priority.
try {
  setPriority(10)
} catch {
  // Some systems do not permit this.
}

// Ctrl-C reaches every process of a terminal, but the server decides when this one ends.
process.on('SIGINT', () => {})
process.on('disconnect', () => process.exit())
process.on('message', (question: ToProcess) => {
  answer(question).then(
    (answer) => send({ kind: 'answer', answer }),
    (error: unknown) => {
      const { status, message } = problemOf(error)
      send({ kind: 'problem', status, message })
    },
  )
})

async function answer(question: ToProcess) {
  const opened = await open(question.kind === 'trace' ? question.checkpoint : undefined)
  if (question.kind === 'documents') return opened.documents()
  if (question.kind === 'trace') return opened.trace(question.what)
  if (question.kind === 'sentence') return opened.sentence()
  return opened.topTokens(question.place)
}

/** The model of a checkpoint. There is one at a time, since another would take as much memory again. */
async function open(checkpoint: number | undefined): Promise<TracedModel> {
  if (model && modelOf !== checkpoint) {
    const before = model
    model = undefined
    await (await before).close()
  }
  modelOf = checkpoint
  model ??= TracedModel.open(directory, readable, checkpoint)
  return model.catch((error: unknown) => {
    // The next question tries again: the cause may be gone by then.
    model = undefined
    throw error
  })
}

function send(message: FromProcess): void {
  process.send?.(message)
}
