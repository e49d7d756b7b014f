/** Entry point of a model process. Arguments: a run directory, and further paths that may be read. */
import { setPriority } from 'node:os'
import { problemOf } from '../../http/problem.ts'
import type { FromProcess, ToProcess } from './messages.ts'
import { TracedModel } from './traced-model.ts'

const [, , directory = '', ...readable] = process.argv
let model: Promise<TracedModel> | undefined

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
  model ??= TracedModel.open(directory, readable)
  const opened = await model.catch((error: unknown) => {
    // The next question tries again: the cause may be gone by then.
    model = undefined
    throw error
  })
  if (question.kind === 'documents') return opened.documents()
  if (question.kind === 'trace') return opened.trace(question.what)
  return opened.topTokens(question.place)
}

function send(message: FromProcess): void {
  process.send?.(message)
}
