/** The runs beside every page: resizable on a wide screen, a drawer over the page on a narrow one. */
import { effect, signal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { RunsPanel } from '../runs/runs-panel.tsx'
import { Icon } from './icon.tsx'

const key = 'choir.sidebar'
const MIN_WIDTH = 240
const MAX_WIDTH = 1200
const narrow = matchMedia('(max-width: 900px)')
const isNarrow = signal(narrow.matches)
narrow.addEventListener('change', () => {
  isNarrow.value = narrow.matches
})

export const drawerOpen = signal(false)
const width = signal(clampWidth(Number(localStorage.getItem(key) ?? 470)))

function clampWidth(pixels: number): number {
  return Number.isFinite(pixels) ? Math.round(Math.max(MIN_WIDTH, Math.min(MAX_WIDTH, pixels))) : MIN_WIDTH
}

effect(() => {
  localStorage.setItem(key, String(width.value))
  document.documentElement.style.setProperty('--sidebar', `${width.value}px`)
})

export function Sidebar() {
  const drawer = isNarrow.value
  const open = drawerOpen.value
  useEffect(() => {
    if (!drawer || !open) return
    const closeOnEscape = (event: KeyboardEvent) => {
      if (event.key === 'Escape') drawerOpen.value = false
    }
    addEventListener('keydown', closeOnEscape)
    return () => removeEventListener('keydown', closeOnEscape)
  }, [drawer, open])
  return (
    <>
      <aside id="runs" class={open ? 'sidebar open' : 'sidebar'} aria-label="Runs" inert={drawer && !open}>
        {drawer && (
          <button
            type="button"
            class="quiet drawer-close"
            aria-label="Close the runs"
            onClick={() => (drawerOpen.value = false)}
          >
            <Icon name="close" />
          </button>
        )}
        <RunsPanel />
        {!drawer && <Splitter />}
      </aside>
      {drawer && open && <div class="shade" onPointerDown={() => (drawerOpen.value = false)} />}
    </>
  )
}

function Splitter() {
  return (
    // biome-ignore lint/a11y/useSemanticElements: <hr> cannot be moved
    <div
      class="splitter"
      role="separator"
      tabIndex={0}
      aria-label="Width of the runs"
      aria-orientation="vertical"
      aria-valuenow={width.value}
      aria-valuemin={MIN_WIDTH}
      aria-valuemax={MAX_WIDTH}
      onPointerDown={(event) => event.currentTarget.setPointerCapture(event.pointerId)}
      onPointerMove={(event) => {
        if (event.currentTarget.hasPointerCapture(event.pointerId)) width.value = clampWidth(event.clientX)
      }}
      onKeyDown={(event) => {
        const by = { ArrowLeft: -24, ArrowRight: 24 }[event.key]
        if (by) width.value = clampWidth(width.value + by)
      }}
    />
  )
}
