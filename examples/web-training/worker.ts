// Trains for the page in a thread of its own, so that the page stays responsive.
import 'choir/web/worker'
