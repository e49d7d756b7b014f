/** The routing of the text by one run. */
import { type Signal, useComputed } from '@preact/signals'
import { useMemo } from 'preact/hooks'
import { grouped } from '../../../src/core/text/numbers.ts'
import type { RunSummary, TokenTrace } from '../../../src/faces/watch/api.ts'
import { Message } from '../controls/message.tsx'
import { Select } from '../controls/selection.tsx'
import { downloadCsv } from '../curves/download.ts'
import { routerNames } from '../shared/router-names.ts'
import { choiceName, countsOf, nearestRouter, takersText, traceCsv } from './choices.ts'
import type { Side } from './expert-colors.ts'
import { offsetsOf, tokensAt } from './pieces.ts'
import { ExpertLegend, LayerStrip, TokenDetail } from './token-detail.tsx'
import { TokenText } from './token-text.tsx'
import * as view from './view.ts'

/** The selected range of characters, or of tokens for a trace without text. */
export type Span = readonly [number, number]

interface TracePanelProps {
  readonly run: Pick<RunSummary, 'name'>
  readonly trace: TokenTrace
  /** The selected range, which both runs share. */
  readonly pointed: Signal<Span | null>
  readonly side: Side
}

export function TracePanel({ run, trace, pointed, side }: TracePanelProps) {
  const { tokens, routers } = trace
  const offsets = useMemo(() => {
    const offsets = offsetsOf(tokens)
    return offsets[tokens.length] === 0 ? offsets.map((_, token) => token) : offsets
  }, [tokens])
  const pointedTokens = useComputed((): Span => {
    const span = pointed.value
    // Until a token is pointed at, the first is selected, so that strip and detail show their purpose.
    return span ? tokensAt(offsets, span[0], span[1]) : [0, Math.min(1, tokens.length)]
  })
  const chosen = nearestRouter(routers, view.layer.value, view.module.value)
  const router = routers[chosen]
  const choice = Math.min(view.choice.value, (router?.choices ?? 1) - 1)
  const counts = useMemo(() => (router ? countsOf(router, choice, tokens) : []), [router, choice, tokens])
  // Marking an expert without tokens here would dim the whole text.
  const marked = counts.some(({ expert }) => expert === view.marked[side].value) ? view.marked[side].value : null
  if (!router || tokens.length === 0)
    return (
      <Message title={tokens.length === 0 ? 'No tokens' : 'No routing to show'}>
        {tokens.length === 0 ? 'The text is empty.' : `${run.name} is dense: it has no experts.`}
      </Message>
    )
  const choose = (index: number) => {
    const next = routers[index]
    if (!next) return
    view.layer.value = next.layer
    view.module.value = next.module
  }
  const [from, to] = pointedTokens.value
  const token = from < to ? from : null
  return (
    <div>
      <section class="trace" aria-label={`Routing of ${run.name}`}>
        <header>
          <h2>{run.name}</h2>
          <p class="trace-about">
            step {grouped(trace.step)}, {grouped(tokens.length)} tokens
            {trace.loss !== null &&
              `, loss ${trace.loss.toFixed(3)} nats per token. Experts have no capacity limit here, as in generation: nothing is dropped.`}
            {trace.cut && <b> The text is longer: only its beginning is shown.</b>}
          </p>
        </header>
        <p class="trace-about">
          Select a layer to colour the text by its experts. Point at a token, or move with the arrow keys, to see its
          experts in all layers, and its choices.
        </p>
        <LayerStrip
          routers={routers}
          chosen={chosen}
          choose={choose}
          token={token}
          text={token === null ? '' : (tokens[token] ?? '')}
          choice={choice}
          side={side}
        />
        {router.choices > 1 && (
          <Select
            label="Colour by"
            value={String(choice)}
            options={Array.from({ length: router.choices }, (_, each) => ({
              value: String(each),
              text: choiceName(router, each) ?? '',
            }))}
            pick={(value) => (view.choice.value = Number(value))}
          />
        )}
        <div class="trace-text">
          <TokenText
            label={`Text as ${run.name} routes it`}
            tokens={tokens}
            router={router}
            choice={choice}
            numbers={view.numbers.value}
            marked={marked}
            side={side}
            pointed={pointedTokens}
            point={(index) => {
              pointed.value = [offsets[index] ?? 0, offsets[index + 1] ?? 0]
            }}
            moveLayer={(by) => choose(chosen + by)}
          />
          <p class="map-files">
            <button
              type="button"
              class="quiet"
              title="The experts of each token in all layers"
              onClick={() =>
                downloadCsv(
                  `Experts of tokens, ${run.name}, step ${trace.step}`,
                  traceCsv(tokens, routers, routerNames(routers)),
                )
              }
            >
              Save experts (CSV)
            </button>
          </p>
        </div>
        <div class="trace-aside">
          {token !== null && (
            <TokenDetail token={tokens[token] ?? ''} index={token} router={router} choice={choice} side={side} />
          )}
          <ExpertLegend
            counts={counts}
            about={takersText(router, choice, counts.length)}
            marked={view.marked[side]}
            side={side}
          />
        </div>
      </section>
    </div>
  )
}
