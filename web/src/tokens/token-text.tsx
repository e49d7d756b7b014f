/**
 * A text with each token in the colour of its expert. To stay fast with thousands of tokens, spans are created once per
 * trace, another layer, choice or mark changes only classes, and all tokens share one listener.
 */
import { type ReadonlySignal, useSignalEffect } from '@preact/signals'
import { useLayoutEffect, useRef } from 'preact/hooks'
import type { TokenRouter } from '../../../src/faces/watch/api.ts'
import { expertOf } from './choices.ts'
import type { Side } from './expert-colors.ts'
import { addExpertRules, classOf, markExpert } from './expert-styles.ts'
import { piecesOf } from './pieces.ts'

interface TokenTextProps {
  readonly label: string
  readonly tokens: readonly string[]
  readonly router: TokenRouter
  readonly choice: number
  readonly numbers: boolean
  readonly marked: number | null
  /** Whether it is the first run, the default, or the second one beside it. */
  readonly side?: Side
  /** The current tokens, selected here or in the other text, as [first, after last). */
  readonly pointed: ReadonlySignal<readonly [number, number]>
  readonly point: (token: number) => void
  readonly moveLayer: (by: number) => void
}

export function TokenText(props: TokenTextProps) {
  const { label, tokens, router, choice, numbers, marked, side = 0, pointed, point, moveLayer } = props
  const box = useRef<HTMLDivElement>(null)
  useLayoutEffect(() => {
    const isTextless = tokens.every((token) => token === '')
    box.current?.replaceChildren(...tokens.map((token, index) => spanOf(token, index, isTextless)))
  }, [tokens])
  useLayoutEffect(() => {
    addExpertRules(router.experts)
    let token = 0
    for (const span of box.current?.children ?? []) {
      span.className = classOf(expertOf(router, token, choice), side)
      token++
    }
  }, [tokens, router, choice, side])
  useLayoutEffect(() => {
    if (marked !== null) markExpert(marked, side)
  }, [marked, side])
  const shown = useRef<readonly [number, number]>([0, 0])
  useSignalEffect(() => {
    const spans = box.current?.children
    const [from, to] = pointed.value
    for (let token = shown.current[0]; token < shown.current[1]; token++) spans?.[token]?.removeAttribute('data-here')
    for (let token = from; token < to; token++) spans?.[token]?.setAttribute('data-here', '')
    shown.current = [from, to]
  })

  const pointAtTarget = (event: Event) => {
    const span = event.target instanceof Element ? event.target.closest('.t') : null
    if (span?.parentElement === box.current) point(Number(span.getAttribute('data-n')))
  }
  const onKey = (event: KeyboardEvent) => {
    const [current] = pointed.value
    const offset = { ArrowRight: 1, ArrowLeft: -1 }[event.key]
    const layers = { ArrowDown: 1, ArrowUp: -1 }[event.key]
    if (offset !== undefined) {
      const next = Math.max(0, Math.min(tokens.length - 1, current + offset))
      point(next)
      box.current?.children[next]?.scrollIntoView({ block: 'nearest' })
    } else if (layers !== undefined) moveLayer(layers)
    else return
    event.preventDefault()
  }
  return (
    // Arrow keys move through the text; the details beside it are read out.
    <div
      ref={box}
      class={`text${numbers ? ' numbered' : ''}${marked === null ? '' : ' marked'}`}
      role="application"
      aria-roledescription="text by expert"
      aria-label={`${label}. Left and right go from token to token, up and down from layer to layer.`}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: an application takes keys
      tabIndex={0}
      onPointerOver={pointAtTarget}
      onClick={pointAtTarget}
      onKeyDown={onKey}
    />
  )
}

function spanOf(token: string, index: number, isTextless: boolean): HTMLSpanElement {
  const span = document.createElement('span')
  span.className = 't'
  span.setAttribute('data-n', String(index))
  // A trace has no text, so its tokens are shown as cells with their numbers.
  if (isTextless) span.setAttribute('data-cell', '')
  for (const { text, sign } of isTextless ? [{ text: String(index), sign: true }] : piecesOf(token)) {
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
