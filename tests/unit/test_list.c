/* shm/base/list.h: linking, unlinking during a visit, splicing. */
#include <criterion/criterion.h>

#include "shm/base/list.h"

struct item {
	int value;
	struct list node;
};

static int list_sum(struct list *head)
{
	int sum = 0;

	list_each (p, head)
		sum = sum * 10 + list_item(p, struct item, node)->value;
	return sum;
}

Test(list, order)
{
	struct item items[4];
	struct list head;

	list_init(&head);
	cr_assert(list_empty(&head));
	cr_assert_null(list_pop(&head));
	for (int i = 0; i < 4; i++)
		items[i].value = i + 1;
	list_add(&head, &items[1].node);
	list_add(&head, &items[2].node);
	list_push(&head, &items[0].node);
	list_insert(&items[3].node, &items[2].node);
	cr_assert_eq(list_sum(&head), 1234);
	cr_assert_eq(list_count(&head), 4);
	cr_assert(list_linked(&items[2].node));
	list_del(&items[2].node);
	list_del(&items[2].node);
	cr_assert_not(list_linked(&items[2].node));
	cr_assert_eq(list_sum(&head), 124);
	cr_assert_eq(list_pop(&head), &items[0].node);
	cr_assert_eq(list_sum(&head), 24);
}

Test(list, unlink_all_while_visiting)
{
	struct item items[5];
	struct list head;
	int visited = 0;

	list_init(&head);
	for (int i = 0; i < 5; i++)
		list_add(&head, &items[i].node);
	list_each_safe (p, &head) {
		list_del(p);
		visited++;
	}
	cr_assert_eq(visited, 5);
	cr_assert(list_empty(&head));
}

Test(list, splice)
{
	struct item items[4] = {{.value = 1}, {.value = 2}, {.value = 3}, {.value = 4}};
	struct list a, b;

	list_init(&a);
	list_init(&b);
	list_splice(&a, &b);
	cr_assert(list_empty(&a));
	list_add(&a, &items[0].node);
	list_add(&a, &items[1].node);
	list_add(&b, &items[2].node);
	list_add(&b, &items[3].node);
	list_splice(&a, &b);
	cr_assert(list_empty(&b));
	cr_assert_eq(list_sum(&a), 1234);
}
