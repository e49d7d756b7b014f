/** The worker that trains. */
import './no-eval.ts'
import '../../src/faces/library/web-worker.ts'
