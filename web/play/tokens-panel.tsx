/** A text in the colours of its experts, as both sides route it. It is routed repeatedly while they train. */
import { type Signal, signal, useSignal, useSignalEffect } from '@preact/signals'
import { Message } from '../src/controls/message.tsx'
import '../src/tokens/tokens.css'
import { type Span, TracePanel } from '../src/tokens/trace-panel.tsx'
import type { LiveRun } from './live-run.ts'
import { nameOf, openSides, runs } from './session.ts'

const text = signal(
  'The Congress of the United States has the power to lay and collect taxes. In the past year our men and women worked ' +
    'hard, and our farms, our mines and our schools are better than they were. I ask you to act now.',
)

export function TokensPanel() {
  const pointed = useSignal<Span | null>(null)
  useSignalEffect(() => {
    for (const side of openSides.value) {
      // A side that has just opened gets the text too.
      void runs[side].phase.value
      runs[side].route(text.value)
    }
  })
  return (
    <section class="pane" aria-label="Tokens">
      <label class="pick play-text">
        <span>Text, each token in the colour of its expert</span>
        <textarea rows={2} value={text.value} onInput={(event) => (text.value = event.currentTarget.value)} />
      </label>
      <div class="sides">
        {openSides.value.map((side) => (
          <Trace key={side} run={runs[side]} pointed={pointed} />
        ))}
      </div>
    </section>
  )
}

function Trace({ run, pointed }: { readonly run: LiveRun; readonly pointed: Signal<Span | null> }) {
  if (run.opened.value?.config.model.moe === null) return <Message title="A dense model has no experts" />
  if (text.value === '') return <Message title="Write or paste a text" />
  const trace = run.trace.value
  return trace ? (
    <TracePanel run={{ name: nameOf(run.side) }} trace={trace} pointed={pointed} side={run.side === 'A' ? 0 : 1} />
  ) : (
    <Message title="Not routed yet" />
  )
}
