/** The process of a model: it is told a run directory and what may be read beside it, loads the newest checkpoint when first asked, and answers. */
import { setPriority } from 'node:os'
import { problemOf } from '../http/problem.ts'
import type { FromProcess, ToProcess } from './messages.ts'
import { TracedModel } from './traced-model.ts'

const [, , directory = '', ...places] = process.argv
let model: Promise<TracedModel> | undefined

// A training on the same machine goes first.
try {
  setPriority(10)
} catch {
  // Not every system lets a process choose.
}

// Ctrl-C reaches every process of a terminal; the server decides when this one ends.
process.on('SIGINT', () => {})
process.on('disconnect', () => process.exit())
process.on('message', (question: ToProcess) => {
  answer(question).then(
    (answer) => tell({ kind: 'answer', answer }),
    (error: unknown) => {
      const { status, message } = problemOf(error)
      tell({ kind: 'problem', status, message })
    },
  )
})

async function answer(question: ToProcess) {
  model ??= TracedModel.open(directory, places)
  const opened = await model.catch((error: unknown) => {
    // What was wrong may be right when somebody asks again.
    model = undefined
    throw error
  })
  if (question.kind === 'documents') return opened.documents()
  if (question.kind === 'trace') return opened.trace(question.what)
  return opened.topTokens(question.place)
}

function tell(message: FromProcess): void {
  process.send?.(message)
}
