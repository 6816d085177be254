// Runs within a report, in a frame: tells the frame's page what is wrong with the report.
addEventListener("load", async () => {
	const found = [];
	for (const details of document.querySelectorAll("details")) details.open = true;
	if (document.documentElement.scrollWidth > innerWidth) {
		found.push(`the page is ${document.documentElement.scrollWidth} px wide`);
	}
	for (const svg of document.querySelectorAll("svg[role=img]")) {
		const edge = svg.getBoundingClientRect();
		const texts = [...svg.querySelectorAll("text")].map(t => ({ text: t.textContent, ...t.getBoundingClientRect().toJSON() }));
		texts.forEach((a, i) => {
			if (a.left < edge.left - 1 || a.right > edge.right + 1) found.push(`“${a.text}” reaches out of “${svg.querySelector("title").textContent}”`);
			for (const b of texts.slice(0, i)) {
				// A line of text is higher than its letters: the boxes may touch by a fifth.
				const apart = Math.min(a.height, b.height) / 5;
				if (a.left < b.right && b.left < a.right && a.top < b.bottom - apart && b.top < a.bottom - apart) {
					found.push(`“${a.text}” is on “${b.text}” in “${svg.querySelector("title").textContent}”`);
				}
			}
		});
	}
	const result = await axe.run();
	for (const v of result.violations) {
		for (const node of v.nodes) found.push(`${v.id}: ${v.help}: ${node.html.slice(0, 160)}`);
	}
	parent.postMessage({ found: found.length ? found : ["all is well"] }, "*");
});
