/** The runs beside every page: resizable on a wide screen, a drawer over the page on a narrow one. */
import { computed, effect, signal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { RunsPanel } from './runs/runs-panel.tsx'
import { Icon } from './shell/icon.tsx'
import { resetSize, resize, sizes } from './shell/sizes.ts'
import { Splitter } from './shell/splitter.tsx'

const name = 'sidebar'
const DEFAULT_WIDTH = 470
const MIN_WIDTH = 240
const MAX_WIDTH = 1200
const narrow = matchMedia('(max-width: 900px)')
const isNarrow = signal(narrow.matches)
narrow.addEventListener('change', () => {
  isNarrow.value = narrow.matches
})

export const drawerOpen = signal(false)
const width = computed(() => Math.max(MIN_WIDTH, Math.min(MAX_WIDTH, sizes.value[name] ?? DEFAULT_WIDTH)))

effect(() => {
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
        {!drawer && (
          <Splitter
            label="Width of the runs"
            sideways
            size={width.value}
            min={MIN_WIDTH}
            max={MAX_WIDTH}
            resize={(pixels) => resize(name, pixels)}
            reset={() => resetSize(name)}
          />
        )}
      </aside>
      {drawer && open && <div class="shade" onPointerDown={() => (drawerOpen.value = false)} />}
    </>
  )
}
