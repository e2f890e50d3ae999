/** Svelte in runes mode everywhere; styles go to the one style sheet. */
import { vitePreprocess } from '@sveltejs/vite-plugin-svelte';

export default { preprocess: vitePreprocess(), compilerOptions: { runes: true, css: 'external' } };
