/** A held-out text in the colours of its experts, as the newest checkpoint up to the current step routes it. */
import { useSignal } from '@preact/signals'
import { useMemo } from 'preact/hooks'
import { fixed, grouped, joinWords, plural } from '../../src/core/text/numbers.ts'
import type { TokenRouter } from '../../src/faces/watch/api.ts'
import type { Sentence } from '../../src/faces/watch/share/shared-run.ts'
import { choiceName, countsOf, expertOf, nearestRouter, takersText } from '../src/tokens/choices.ts'
import { ExpertLegend } from '../src/tokens/token-detail.tsx'
import { TokenText } from '../src/tokens/token-text.tsx'
import '../src/tokens/tokens.css'
import * as view from '../src/experts/view.ts'
import { routerOf } from './maps.tsx'
import type { Replay } from './replay.ts'

interface SentencePanelProps {
  readonly replay: Replay
  readonly names: readonly string[]
}

export function SentencePanel({ replay, names }: SentencePanelProps) {
  const { sentence } = replay.run
  return (
    <section class="pane" aria-labelledby="sentence">
      <h2 id="sentence">One text, by the experts that take its tokens</h2>
      {'reason' in sentence ? (
        <p class="quiet">Left out. {sentence.reason}</p>
      ) : (
        <Recoloured replay={replay} sentence={sentence} names={names} />
      )}
    </section>
  )
}

function Recoloured({ replay, names, sentence }: SentencePanelProps & { readonly sentence: Sentence }) {
  const { tokens, traces, title, failed } = sentence
  const pointed = useSignal<readonly [number, number]>(longestOf(tokens))
  const marked = useSignal<number | null>(null)
  const numbers = useSignal(false)
  const current = replay.run.index.routers[routerOf(replay)]
  const chosen = nearestRouter(sentence.routers, current?.layer ?? 0, current?.module ?? 'ffn')
  const routers = useMemo(
    () =>
      traces.map(
        ({ experts }) => ({ ...sentence.routers[chosen], expert: experts[chosen] ?? [], gate: null }) as TokenRouter,
      ),
    [sentence, chosen],
  )
  const at = traces.findLastIndex(({ step }) => step <= replay.step.value)
  const [first] = routers
  // Before the first checkpoint no token has an expert, so none has a colour.
  const uncoloured = useMemo(() => first && { ...first, expert: first.expert.map(() => -1) }, [first])
  const router = routers[at] ?? uncoloured
  const counts = useMemo(() => (router ? countsOf(router, 0, tokens) : []), [router, tokens])
  if (!router || !current) return null
  const name = choiceName(router, 0)
  const shown = counts.some(({ expert }) => expert === marked.value) ? marked.value : null
  return (
    <>
      <p class="quiet">
        The beginning of a held-out document ({title}). A token has the colour of the expert of layer{' '}
        {names[routerOf(replay)]} that takes it{name !== null && ` (${name})`}, as the{' '}
        {plural(traces.length, 'saved checkpoint')} of the run route it, without a limit of capacity.
      </p>
      <fieldset class="share-checkpoints">
        <legend class="hidden">Checkpoints</legend>
        {traces.map(({ step }, index) => (
          <button
            type="button"
            key={step}
            aria-pressed={index === at}
            onClick={() => {
              view.playing.value = false
              view.moveTo(step)
            }}
          >
            step {grouped(step)}
          </button>
        ))}
      </fieldset>
      <label class="numbers-check">
        <input
          type="checkbox"
          checked={numbers.value}
          onChange={(event) => (numbers.value = event.currentTarget.checked)}
        />
        Expert numbers
      </label>
      <TokenText
        label={`Held-out text at step ${traces[at]?.step ?? 0}`}
        tokens={tokens}
        router={router}
        choice={0}
        numbers={numbers.value}
        marked={shown}
        pointed={pointed}
        point={(token) => (pointed.value = [token, token + 1])}
        moveLayer={(by) => {
          replay.choose(Math.max(0, Math.min(names.length - 1, routerOf(replay) + by)))
        }}
      />
      <p class="share-token" aria-live="polite">
        {tokenLife(sentence, routers, pointed.value[0])}
      </p>
      <p class="quiet">{changeText(sentence, routers, at)}</p>
      {at >= 0 && <ExpertLegend counts={counts} about={takersText(router, 0, counts.length)} marked={marked} />}
      {failed.length > 0 && (
        <p class="quiet">
          Left out: {joinWords(failed.map(({ step, reason }) => `step ${grouped(step)} (${reason})`))}
        </p>
      )}
    </>
  )
}

/** The place of the longest token, an example whose text is a word. */
function longestOf(tokens: readonly string[]): readonly [number, number] {
  const longest = Math.max(...tokens.map(({ length }) => length))
  const token = tokens.findIndex(({ length }) => length === longest)
  return [token, token + 1]
}

/** The experts of one token over the checkpoints. */
function tokenLife({ tokens, traces }: Sentence, routers: readonly TokenRouter[], token: number): string {
  const text = (tokens[token] ?? '').trim() || 'This token'
  const experts = routers.map((router) => expertOf(router, token, 0))
  const steps = joinWords(traces.map(({ step }) => grouped(step)))
  if (new Set(experts).size === 1) return `“${text}” goes to expert ${experts[0]} at every checkpoint`
  return `“${text}” goes to expert ${joinWords(experts.map(String))} at steps ${steps}`
}

function changeText({ traces, tokens }: Sentence, routers: readonly TokenRouter[], at: number): string {
  const [here, before] = [routers[at], routers[at - 1]]
  const trace = traces[at]
  if (!here || !trace) return `Uncoloured until the first checkpoint, at step ${grouped(traces[0]?.step ?? 0)}.`
  const loss = trace.loss === null ? '' : `; the loss of this text is ${fixed(trace.loss, 2)} nats a token`
  if (!before) return `The first checkpoint, at step ${grouped(trace.step)}${loss}.`
  const changed = tokens.filter((_, token) => expertOf(here, token, 0) !== expertOf(before, token, 0)).length
  return `${changed} of ${tokens.length} tokens have another expert than at step ${grouped(traces[at - 1]?.step ?? 0)}${loss}.`
}
