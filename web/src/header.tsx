/** The header: links to the pages, and a sign whether the page is up to date. */
import type { TargetedMouseEvent } from 'preact'
import { bytes } from '../../src/core/text/numbers.ts'
import { collection, type Page, page, pages, pageTitles, problem, runs } from './shared/store.ts'
import { Icon } from './shell/icon.tsx'
import { shortcutsShown } from './shell/shortcuts.tsx'
import { ThemeButton } from './shell/theme-button.tsx'
import { drawerOpen } from './sidebar.tsx'

export function Header() {
  return (
    <header class="top">
      <button
        type="button"
        class="quiet drawer-button"
        aria-label="Runs"
        aria-expanded={drawerOpen.value}
        aria-controls="runs"
        onClick={() => (drawerOpen.value = !drawerOpen.value)}
      >
        <Icon name="menu" />
      </button>
      <span class="brand">Choir</span>
      <nav aria-label="Pages">
        {pages.map((name) => (
          <a
            key={name}
            href={addressOf(name)}
            aria-current={page.value === name ? 'page' : undefined}
            onClick={(event) => follow(event, name)}
          >
            {pageTitles[name]}
          </a>
        ))}
      </nav>
      <Freshness />
      <ThemeButton />
      <button type="button" class="quiet wide-only" onClick={() => (shortcutsShown.value = true)}>
        <kbd>?</kbd>
        <span class="hidden">Keys</span>
      </button>
    </header>
  )
}

/** Switches the page without a reload, except for clicks that open a new tab. */
function follow(event: TargetedMouseEvent<HTMLAnchorElement>, name: Page): void {
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return
  event.preventDefault()
  page.value = name
}

function addressOf(name: Page): string {
  const parameters = new URLSearchParams(location.search)
  parameters.set('page', name)
  return `?${parameters}`
}

function Freshness() {
  const progress = collection.value?.progress ?? null
  if (problem.value !== null)
    return (
      <span class="freshness bad" role="status">
        <i class="dot" /> Not connected
      </span>
    )
  if (progress)
    return (
      <span class="freshness" role="status">
        <progress value={progress.done} max={Math.max(1, progress.of)} aria-label="Reading the files" />
        <span class="wide-only">
          Reading {bytes(progress.done)} of {bytes(progress.of)}
        </span>
      </span>
    )
  if (!collection.value) return <span class="freshness">Loading…</span>
  const running = runs.value.filter(({ state }) => state === 'running').length
  return (
    <span class="freshness" role="status">
      <i class="dot live" /> Live
      {running > 0 && (
        <span class="wide-only">
          · {running} of {runs.value.length} running
        </span>
      )}
    </span>
  )
}
