/** The tokens page: routing of every token of a text, in one run or in two side by side. */
import { type Signal, useSignal } from '@preact/signals'
import type { RunSummary, TokenTrace, TraceRequest } from '../../../src/faces/watch/api.ts'
import { Message } from '../controls/message.tsx'
import { Select } from '../controls/selection.tsx'
import { postJson } from '../shared/client.ts'
import { runOf, runs, shownRuns } from '../shared/store.ts'
import { type Answer, useAnswer } from '../shared/use-answer.ts'
import type { Side } from './expert-colors.ts'
import { TextSource } from './text-source.tsx'
import './tokens.css'
import { type Span, TracePanel } from './trace-panel.tsx'
import * as view from './view.ts'

export function TokensPage() {
  const requested = view.runA.value === null ? undefined : runOf(view.runA.value)
  const a = requested?.traceable ? requested : [...shownRuns.value, ...runs.value].find((run) => run.traceable)
  if (!a)
    return (
      <Message title="No run with experts has a checkpoint yet">
        Tokens are routed with the weights of a checkpoint, to the experts of the model. A run writes one every{' '}
        <code>train.checkpointEvery</code> steps, when it is stopped, and when it ends.
      </Message>
    )
  const b = view.runB.value === null ? undefined : runOf(view.runB.value)
  return <Traces a={a} b={b?.traceable ? b : undefined} />
}

function Traces({ a, b }: { readonly a: RunSummary; readonly b: RunSummary | undefined }) {
  const pointed = useSignal<Span | null>(null)
  const isOwnText = a.kind !== 'trace' && view.source.value === 'text'
  const request: TraceRequest | null = !isOwnText
    ? { run: a.id, document: view.document.value }
    : view.pasted.value === ''
      ? null
      : { run: a.id, text: view.pasted.value }
  const first = useTrace(request, a)
  const second = useTrace(b && first.value && request ? requestForOther(b.id, request, first.value) : null, b)
  const traceable = runs.value.filter((run) => run.traceable)
  const options = traceable.map(({ id, name }) => ({ value: id, text: name }))
  return (
    <div class="tokens">
      <div class="tokens-controls">
        <Select label="Run" value={a.id} options={options} pick={(id) => (view.runA.value = id)} />
        <Select
          label="Compare with"
          value={b?.id ?? ''}
          options={[{ value: '', text: 'nothing' }, ...options]}
          pick={(id) => (view.runB.value = id === '' ? null : id)}
        />
        <TextSource run={a} />
        <label class="numbers-check">
          <input
            type="checkbox"
            checked={view.numbers.value}
            onChange={(event) => (view.numbers.value = event.currentTarget.checked)}
          />
          Expert numbers
        </label>
      </div>
      <div class={b ? 'traces traces-two' : 'traces'}>
        <TraceOrMessage run={a} answer={first} hasText={request !== null} pointed={pointed} side={0} />
        {b && <TraceOrMessage run={b} answer={second} hasText={request !== null} pointed={pointed} side={1} />}
      </div>
    </div>
  )
}

/** Sends the first run's text to the other run, whose own documents may differ. */
function requestForOther(run: string, request: TraceRequest, { tokens }: TokenTrace): TraceRequest {
  const text = tokens.join('')
  return text === '' ? { ...request, run } : { run, text }
}

/** The routing of a text, requested again for each new checkpoint. */
function useTrace(request: TraceRequest | null, run: RunSummary | undefined): Answer<TokenTrace> {
  return useAnswer(request && JSON.stringify(request), run?.checkpoint ?? null, (signal) =>
    postJson<TokenTrace>('/api/trace', request ?? {}, signal),
  )
}

interface TraceOrMessageProps {
  readonly run: RunSummary
  readonly answer: Answer<TokenTrace>
  readonly hasText: boolean
  readonly pointed: Signal<Span | null>
  readonly side: Side
}

function TraceOrMessage({ run, answer, hasText, pointed, side }: TraceOrMessageProps) {
  if (!hasText)
    return (
      <Message title="Write or paste a text">
        Each token is then shown in the colour of its expert. Ctrl or ⌘ with Enter submits the text.
      </Message>
    )
  if (answer.problem !== null)
    return (
      <Message bad title={`${run.name} could not route the text`}>
        {answer.problem}
      </Message>
    )
  if (answer.value === null) return <Message title={`Routing the text with ${run.name}…`} />
  return <TracePanel run={run} trace={answer.value} pointed={pointed} side={side} />
}
