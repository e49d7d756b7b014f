/**
 * A text, each token in the colour of its expert. The spans are made once for a trace; another layer, choice or mark
 * changes classes alone, and one listener serves them all: thousands of tokens stay quick.
 */
import { type ReadonlySignal, useSignalEffect } from '@preact/signals'
import { useLayoutEffect, useRef } from 'preact/hooks'
import type { TokenRouter } from '../../../src/watch/api.ts'
import { expertOf } from './counts.ts'
import { classOf, markExpert, ruleExperts } from './expert-sheet.ts'
import { piecesOf } from './pieces.ts'

interface TokenTextProps {
  readonly label: string
  readonly tokens: readonly string[]
  readonly router: TokenRouter
  readonly choice: number
  readonly numbers: boolean
  readonly marked: number | null
  /** Tokens that are pointed at here or in the text beside, as [first, after last). */
  readonly pointed: ReadonlySignal<readonly [number, number]>
  readonly point: (token: number) => void
  readonly turnLayer: (by: number) => void
}

export function TokenText(props: TokenTextProps) {
  const { label, tokens, router, choice, numbers, marked, pointed, point, turnLayer } = props
  const box = useRef<HTMLDivElement>(null)
  useLayoutEffect(() => {
    const isWordless = tokens.every((token) => token === '')
    box.current?.replaceChildren(...tokens.map((token, index) => spanOf(token, index, isWordless)))
  }, [tokens])
  useLayoutEffect(() => {
    ruleExperts(router.experts)
    let token = 0
    for (const span of box.current?.children ?? []) {
      span.className = classOf(expertOf(router, token, choice))
      token++
    }
  }, [tokens, router, choice])
  useLayoutEffect(() => {
    if (marked !== null) markExpert(marked)
  }, [marked])
  const shown = useRef<readonly [number, number]>([0, 0])
  useSignalEffect(() => {
    const spans = box.current?.children
    const [from, to] = pointed.value
    for (let token = shown.current[0]; token < shown.current[1]; token++) spans?.[token]?.removeAttribute('data-here')
    for (let token = from; token < to; token++) spans?.[token]?.setAttribute('data-here', '')
    shown.current = [from, to]
  })

  const reach = (event: Event) => {
    const span = event.target instanceof Element ? event.target.closest('.t') : null
    if (span?.parentElement === box.current) point(Number(span.getAttribute('data-n')))
  }
  const press = (event: KeyboardEvent) => {
    const [now] = pointed.value
    const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key]
    const turn = { ArrowDown: 1, ArrowUp: -1 }[event.key]
    if (move !== undefined) {
      const next = Math.max(0, Math.min(tokens.length - 1, now + move))
      point(next)
      box.current?.children[next]?.scrollIntoView({ block: 'nearest' })
    } else if (turn !== undefined) turnLayer(turn)
    else return
    event.preventDefault()
  }
  return (
    // Arrow keys walk through it; what they come to is read out beside it.
    <div
      ref={box}
      class={`text${numbers ? ' numbered' : ''}${marked === null ? '' : ' marked'}`}
      role="application"
      aria-roledescription="text by expert"
      aria-label={`${label}. Left and right go from token to token, up and down from layer to layer.`}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: an application takes keys
      tabIndex={0}
      onPointerOver={reach}
      onClick={reach}
      onKeyDown={press}
    />
  )
}

function spanOf(token: string, index: number, isWordless: boolean): HTMLSpanElement {
  const span = document.createElement('span')
  span.className = 't'
  span.setAttribute('data-n', String(index))
  // A trace without text shows its tokens by number, as cells.
  if (isWordless) span.setAttribute('data-cell', '')
  for (const { text, sign } of isWordless ? [{ text: String(index), sign: true }] : piecesOf(token)) {
    const piece = document.createElement('i')
    piece.textContent = text
    span.append(sign ? piece : text)
  }
  if (/[\r\n]$/.test(token)) {
    span.setAttribute('data-break', '')
    span.lastElementChild?.setAttribute('data-last', '')
  }
  return span
}
