/**
 * Keyboard shortcuts, which parts of the page add with `onKeys`. Keys typed into a field, or pressed with Ctrl, Alt or
 * Meta, are left alone.
 */
import { signal } from '@preact/signals'
import { Dialog } from './dialog.tsx'

export const shortcutsShown = signal(false)

type Keys = Readonly<Record<string, () => void>>

/** Calls the action of a pressed key. @returns a function that removes the keys */
export function onKeys(keys: Keys): () => void {
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isField(event.target)) return
    if (event.defaultPrevented || document.querySelector('dialog[open]')) return
    const action = Object.hasOwn(keys, event.key) ? keys[event.key] : undefined
    if (!action) return
    event.preventDefault()
    action()
  }
  addEventListener('keydown', onKeyDown)
  return () => removeEventListener('keydown', onKeyDown)
}

/** Whether an element takes text: checkboxes and sliders do not. */
function isField(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false
  if (target instanceof HTMLInputElement) return !['checkbox', 'radio', 'range', 'button'].includes(target.type)
  return target.isContentEditable || target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement
}

const shortcuts: readonly (readonly [string, string])[] = [
  ['1  2  3  4', 'Curves, Experts, Tokens, Ranks'],
  ['/', 'Filter the runs'],
  ['j  k', 'Next and previous run in the table'],
  ['x', 'Show or hide the run'],
  ['o', 'Show only the run; again: show all'],
  ['d', 'Differences between the shown runs'],
  ['m', 'Search the metrics'],
  ['r', 'Back to the whole range of the curves'],
  ['Space', 'Play through the snapshots of the experts'],
  ['← ↑ → ↓', 'In a heat map, a text or a row of layers: move to the next; on an edge: resize'],
  ['Enter', 'In a heat map: open the expert; on an edge: its default size'],
  ['Esc', 'Close what is open'],
  ['?', 'This list'],
]

export function Shortcuts() {
  if (!shortcutsShown.value) return null
  return (
    <Dialog title="Keys" close={() => (shortcutsShown.value = false)}>
      <dl class="keys">
        {shortcuts.map(([keys, action]) => (
          <div key={keys}>
            <dt>
              {keys.split('  ').map((key) => (
                <kbd key={key}>{key}</kbd>
              ))}
            </dt>
            <dd>{action}</dd>
          </div>
        ))}
      </dl>
      <p class="quiet">In a plot: drag to zoom, double-click for the whole range.</p>
    </Dialog>
  )
}
